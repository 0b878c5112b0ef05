// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tree_encoder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/nn/packed_batch.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {

std::pair<std::size_t, std::size_t> share_cutoff(std::size_t source, std::size_t target, std::size_t cutoff) {
  std::size_t most = 0;  // tokens that the response may have
  if (target * 2 < cutoff)
    most = cutoff;
  else if (source * 2 < cutoff)
    most = cutoff - source;
  else
    most = static_cast<std::size_t>(static_cast<double>(cutoff) *
                                    (static_cast<double>(target) / static_cast<double>(source + target)));
  const std::size_t response = std::min(most, target);
  return {std::min(source, cutoff - std::min(cutoff, response)), response};
}

TreeEncoder::TreeEncoder(const Tokenizer& tokenizer, MediaStore& media, const Options& options)
    : tokenizer_(tokenizer), media_(media), options_(options) {}

void TreeEncoder::append_text(TokenTree& tree, std::span<const std::int64_t> ids, std::int64_t& next_position) {
  tree.tokens.insert(tree.tokens.end(), ids.begin(), ids.end());
  append_text_positions(tree.positions, ids.size(), next_position);
}

void TreeEncoder::append_image(TokenTree& tree, std::shared_ptr<const PreparedVisual> image,
                               std::int64_t& next_position) const {
  const int factor = options_.images.patch * options_.images.merge;
  tree.visual_runs.push_back({tree.tokens.size(), tree.visuals.size(), 0, static_cast<std::size_t>(image->tokens)});
  tree.tokens.insert(tree.tokens.end(), static_cast<std::size_t>(image->tokens), options_.image_token);
  append_image_positions(tree.positions, image->height / factor, image->width / factor, next_position);
  tree.visuals.push_back(std::move(image));
}

std::shared_ptr<const PreparedVisual> TreeEncoder::prepared(const Media& media, std::string& why) {
  if (media.id.empty()) {
    why = fmt::format("image '{}' is absent", media.source);
    return nullptr;
  }
  {
    std::lock_guard lock(mutex_);
    if (const auto found = cache_.find(media.id); found != cache_.end()) {
      ages_.splice(ages_.begin(), ages_, found->second.age);
      return found->second.image;
    }
  }
  const DecodedImage decoded = media_.decode(media);
  if (decoded.status != Status::ok) {
    why = fmt::format("image '{}': {}", media.source, decoded.detail);
    return nullptr;
  }
  std::shared_ptr<const PreparedVisual> image;
  try {
    image = std::make_shared<PreparedVisual>(
        prepare_image(decoded.image, options_.images, options_.image_min_pixels, options_.image_max_pixels));
  } catch (const DataError& error) {
    why = fmt::format("image '{}': {}", media.source, error.what());
    return nullptr;
  }
  std::lock_guard lock(mutex_);
  if (const auto found = cache_.find(media.id); found != cache_.end()) return found->second.image;
  ages_.push_front(media.id);
  cache_[media.id] = {image, ages_.begin()};
  cached_bytes_ += image->rgb.size();
  while (cached_bytes_ > options_.cache_bytes && ages_.size() > 1) {
    const auto oldest = cache_.find(ages_.back());
    cached_bytes_ -= oldest->second.image->rgb.size();
    cache_.erase(oldest);
    ages_.pop_back();
  }
  return image;
}

EncodedTree TreeEncoder::encode(const Prompt& prompt, std::span<const std::string_view> responses) {
  EncodedTree result;
  if (prompt.messages.empty()) {
    result.detail = "the prompt has no messages";
    return result;
  }
  TokenTree& tree = result.tree;
  std::int64_t next = 0;
  for (const Segment& segment : render_prompt(prompt)) {
    if (!segment.media) {
      append_text(tree, tokenizer_.encode(segment.text), next);
      continue;
    }
    if (segment.media->kind == Media::Kind::video) {
      result.detail = "videos are not supported by this backbone";
      return result;
    }
    auto image = prepared(*segment.media, result.detail);
    if (!image) {
      result.status = Status::missing_media;
      return result;
    }
    append_image(tree, std::move(image), next);
  }

  std::vector<std::vector<std::int64_t>> branches;
  std::size_t longest = 0;
  for (const std::string_view response : responses) {
    branches.push_back(tokenizer_.encode(render_response(response, options_.form)));
    longest = std::max(longest, branches.back().size());
  }
  tree.prefix = tree.tokens.size();
  std::size_t room = longest;
  if (options_.cutoff > 0) {
    const auto [source, target] = share_cutoff(tree.prefix, longest, options_.cutoff);
    if (!tree.visual_runs.empty() && source < tree.visual_runs.back().begin + tree.visual_runs.back().count) {
      result.status = Status::truncated;
      result.detail = fmt::format("the prompt has {} tokens; cut at {} it would lose a part of an image", tree.prefix, source);
      return result;
    }
    if (source < tree.prefix) {
      tree.tokens.resize(source);
      tree.positions.resize(source);
      tree.prefix = source;
      next = 0;
      for (const auto& position : tree.positions) next = std::max({next, position[0] + 1, position[1] + 1, position[2] + 1});
    }
    room = target;
  }
  const std::int64_t after_prompt = next;
  for (std::vector<std::int64_t>& branch : branches) {
    branch.resize(std::min(branch.size(), room));
    next = after_prompt;
    append_text(tree, branch, next);
    tree.branch_ends.push_back(tree.tokens.size());
  }
  result.status = Status::ok;
  return result;
}

}  // namespace dt2it::nn
