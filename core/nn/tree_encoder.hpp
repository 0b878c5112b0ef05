// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/nn/chat_template.hpp"
#include "core/nn/image_processor.hpp"
#include "core/nn/tokenizer.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/media.hpp"

namespace dt2it::nn {

// Records to token trees: chat template, tokenizer, image preparation, length limit, M-RoPE positions. Thread-safe.
class TreeEncoder {
 public:
  struct Options {
    ChatTemplate form = ChatTemplate::qwen3_vl_nothink;
    std::int64_t image_token = 0;
    ImageProcessorConfig images;
    std::int64_t image_min_pixels = 0;  // LLaMA-Factory's bounds, before the processor's own; 0: none
    std::int64_t image_max_pixels = 0;
    std::size_t cutoff = 0;             // longest prompt + response in tokens; 0: no limit
    std::size_t cache_bytes = 256u << 20;  // prepared images that are kept
  };
  // Tokenizer and store must outlive the encoder.
  TreeEncoder(const Tokenizer& tokenizer, MediaStore& media, const Options& options);

  EncodedTree encode(const Prompt& prompt, std::span<const std::string_view> responses);

 private:
  static void append_text(TokenTree& tree, std::span<const std::int64_t> ids, std::int64_t& next_position);
  void append_image(TokenTree& tree, std::shared_ptr<const PreparedVisual> image, std::int64_t& next_position) const;
  struct Cached {
    std::shared_ptr<const PreparedVisual> image;
    std::list<std::string>::iterator age;
  };
  // Null with `why` set when it cannot be had.
  std::shared_ptr<const PreparedVisual> prepared(const Media& media, std::string& why);

  const Tokenizer& tokenizer_;
  MediaStore& media_;
  const Options options_;
  std::mutex mutex_;
  std::unordered_map<std::string, Cached> cache_;
  std::list<std::string> ages_;  // most recently used first
  std::size_t cached_bytes_ = 0;
};

// How LLaMA-Factory shares `cutoff` tokens between a prompt of `source` tokens and responses of at most `target`:
// {prompt, response}. The longer side loses its tail.
std::pair<std::size_t, std::size_t> share_cutoff(std::size_t source, std::size_t target, std::size_t cutoff);

}  // namespace dt2it::nn
