// SPDX-License-Identifier: Apache-2.0
#include "core/calls/token_estimate.hpp"

#include <algorithm>
#include <cmath>

namespace dt2it {

std::int64_t image_tokens(const ImageTokens& rule, int width, int height) {
  double w = width > 0 ? width : 1024, h = height > 0 ? height : 1024;
  const double size = std::max(1, rule.size);
  if (rule.rule == ImageTokens::Rule::tiles) {
    const double fit = std::min(1.0, 2048 / std::max(w, h));
    w *= fit;
    h *= fit;
    const double shrink = std::min(1.0, 768 / std::min(w, h));
    const double tiles = std::ceil(w * shrink / size) * std::ceil(h * shrink / size);
    return rule.base + static_cast<std::int64_t>(tiles) * rule.per_tile;
  }
  const double patches = std::ceil(w / size) * std::ceil(h / size);
  return static_cast<std::int64_t>(std::min(patches, static_cast<double>(rule.most)));
}

std::int64_t prompt_tokens(const ChatRequest& request, const ImageTokens& rule) {
  std::int64_t bytes = 0, images = 0;
  for (const Message& message : request.messages)
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text) {
        bytes += static_cast<std::int64_t>(part.text.size());
        continue;
      }
      const std::int64_t one = image_tokens(rule, part.media.width, part.media.height);
      images +=
          one * std::max<std::int64_t>(1, static_cast<std::int64_t>(part.media.frames.size()));
    }
  return bytes / 4 + 8 + images;
}

double cost_of(const Usage& usage, const Prices& prices, bool batch) {
  const double sum = static_cast<double>(usage.prompt_tokens - usage.cached_tokens) * prices.input +
                     static_cast<double>(usage.cached_tokens) * prices.cached_input +
                     static_cast<double>(usage.completion_tokens) * prices.output;
  return sum * 1e-6 * (batch ? prices.batch_factor : 1);
}

}  // namespace dt2it
