// SPDX-License-Identifier: Apache-2.0
#pragma once

// A ChatRequest as the body of a POST.

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dt2it/media.hpp"
#include "dt2it/mllm.hpp"

namespace dt2it::openai {

// How an answer in JSON is asked for, from the strictest to not at all.
enum class JsonForm { schema, object, none };

// What this server takes; it is learned from its refusals (learn() in reply.hpp).
struct WireForm {
  bool completion_tokens = true;  // max_completion_tokens, else max_tokens
  bool temperature = true;        // send it where the request has one
  bool top_p = true;
  bool seed = true;
  JsonForm json = JsonForm::object;
  bool operator==(const WireForm&) const = default;

  std::uint32_t packed() const {
    return (completion_tokens ? 1u : 0u) | (temperature ? 2u : 0u) | (top_p ? 4u : 0u) |
           (seed ? 8u : 0u) | static_cast<std::uint32_t>(json) << 4;
  }
  static WireForm unpacked(std::uint32_t bits) {
    return {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0,
            static_cast<JsonForm>(bits >> 4)};
  }
};

struct BodySettings {
  std::string model;
  std::optional<std::string> image_detail;
  std::optional<std::int64_t> max_tokens;  // where the request has none
  std::optional<std::int64_t> seed;        // the number of the draw is added
  std::optional<double> temperature;       // likewise
  // Names and raw JSON values that are added, or sent instead of ours of that name.
  std::vector<std::pair<std::string, std::string>> extra;
};

inline constexpr std::int64_t kAnthropicLimit = 4096;  // that wire wants one always

using Piece = std::shared_ptr<const std::string>;

// Images as base64, encoded once for all requests that show them; the last used are kept. Thread-safe.
class EncodedImages {
 public:
  // That of `media`, one for all models that read it: a run may ask a dozen, and what each keeps adds up.
  static std::shared_ptr<EncodedImages> of(MediaStore& media);

  explicit EncodedImages(MediaStore& media, std::size_t most_bytes = 64 << 20)
      : media_(media), most_(most_bytes) {}

  struct Encoded {
    Piece base64;  // null: it is missing, and `problem` says why
    std::string mime, problem;
  };
  // The stored bytes with the type that they show; what is neither PNG, JPEG, GIF nor WebP as PNG.
  Encoded get(const Media& media);

 private:
  Encoded encode(const Media& media);

  MediaStore& media_;
  const std::size_t most_;
  std::mutex mutex_;
  std::list<std::pair<std::string, Encoded>> recent_;  // the last used first
  std::unordered_map<std::string, std::list<std::pair<std::string, Encoded>>::iterator> found_;
  std::size_t bytes_ = 0;
};

struct Body {
  Status status = Status::ok;
  std::string detail;  // unless ok
  std::vector<Piece> pieces;
};

// As OpenAI's chat completions want it. A video goes out as its frames. A missing or undecodable image
// gives missing_media.
Body request_body(const ChatRequest& request, const BodySettings& settings, const WireForm& form,
                  EncodedImages& images);

// As Anthropic's messages want it: the system text apart, a token limit always.
Body anthropic_body(const ChatRequest& request, const BodySettings& settings, const WireForm& form,
                    EncodedImages& images);

// The members of a JSON object. Throws ConfigError when `text` is none, or has a member that cannot
// be replaced (messages, stream).
std::vector<std::pair<std::string, std::string>> read_extra_body(const std::string& text);

}  // namespace dt2it::openai
