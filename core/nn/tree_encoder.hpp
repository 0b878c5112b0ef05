// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/nn/chat_template.hpp"
#include "core/nn/image_processor.hpp"
#include "core/nn/mrope.hpp"
#include "core/nn/tokenizer.hpp"
#include "core/nn/video_sampling.hpp"
#include "core/nn/visual_cache.hpp"
#include "dt2it/backbone.hpp"
#include "dt2it/media.hpp"

namespace dt2it::nn {

// Videos of a backbone that sees them.
struct VideoOptions {
  std::int64_t token = 0;  // the placeholder
  VideoSampling sampling;
  VideoLimits limits;
  std::int64_t min_pixels =
      0;  // of a frame before the processor's own limits: LLaMA-Factory's video_min_pixels,
  std::int64_t max_pixels = 0;  // video_max_pixels (65536 unless told otherwise); 0: none
  // Qwen2.5-VL: how long a temporal step lasts. True: by the rate asked for, as transformers 4.57.6
  // has it unless told otherwise; false: by the rate got (frames taken / seconds), as LLaMA-Factory
  // and transformers 5.
  bool nominal_rate = false;
  std::int64_t tokens_per_second = 2;  // vision_config.tokens_per_second
  std::size_t max_bytes = std::size_t{1}
                          << 30;  // of prepared frames; a video that needs more is invalid
};

// Records to token trees: chat template, tokenizer, images and videos, length limit, M-RoPE
// positions. Thread-safe; calls no tensor code. A picture is decoded and prepared once, whoever
// asks for it, while the cache holds it.
//
// With the template's form `huggingface` prompt and response are one text. The tree's prompt then
// ends where the ids of the prompt alone and of all its branches part: a response that begins with
// a line break takes the last token of the prompt with it, for all branches of the tree. So the ids
// of each branch are always those of its whole text.
class TreeEncoder {
 public:
  struct Options {
    ChatTemplate form;
    Family family = Family::qwen3_vl;
    std::int64_t image_token = 0;
    ImageProcessorConfig images;
    std::int64_t image_min_pixels =
        0;  // LLaMA-Factory's bounds, before the processor's own; 0: none
    std::int64_t image_max_pixels = 0;
    std::optional<VideoOptions> videos;    // none: a prompt with a video is invalid
    std::size_t cutoff = 0;                // longest prompt + response in tokens; 0: no limit
    std::size_t cache_bytes = 256u << 20;  // prepared images and videos that are kept
  };
  // Tokenizer and store must outlive the encoder.
  TreeEncoder(const Tokenizer& tokenizer, MediaStore& media, const Options& options);

  EncodedTree encode(const Prompt& prompt, std::span<const std::string_view> responses);

  struct Request {
    const Prompt* prompt = nullptr;
    std::vector<std::string_view> responses;
  };
  // In the order of the requests, by several threads (0: as many as the machine has).
  std::vector<EncodedTree> encode_all(std::span<const Request> requests, unsigned threads = 0);

  // What became of all records so far.
  struct Counts {
    std::size_t ok = 0;
    std::size_t cut = 0;        // of these, those that the length limit took tokens from
    std::size_t truncated = 0;  // refused: the limit would have cut an image
    std::size_t missing_media = 0;
    std::size_t invalid = 0;
  };
  Counts counts() const;

 private:
  class Builder;
  std::shared_ptr<const Visual> visual(const Segment& segment);
  Visual prepared_image(const Media& media) const;
  Visual prepared_video(const Media& media) const;
  EncodedTree encode_tree(const Prompt& prompt, std::span<const std::string_view> responses);

  const Tokenizer& tokenizer_;
  MediaStore& media_;
  const Options options_;
  const std::shared_ptr<VisualCache> cache_;
  std::atomic<std::size_t> ok_{0}, cut_{0}, truncated_{0}, missing_{0}, invalid_{0};
};

// How LLaMA-Factory shares `cutoff` tokens between a prompt of `source` tokens and responses of at
// most `target`: {prompt, response}. The longer side loses its tail.
std::pair<std::size_t, std::size_t> share_cutoff(std::size_t source, std::size_t target,
                                                 std::size_t cutoff);

}  // namespace dt2it::nn
