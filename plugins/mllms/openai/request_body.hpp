// SPDX-License-Identifier: Apache-2.0
#pragma once

// A ChatRequest as the body of POST {endpoint}/chat/completions.

#include <cstdint>
#include <optional>
#include <string>
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
};

struct BodySettings {
  std::string model;
  std::optional<std::string> image_detail;
  std::optional<std::int64_t> max_tokens;  // where the request has none
  std::optional<std::int64_t> seed;        // the number of the draw is added
  // Names and raw JSON values that are added, or sent instead of ours of that name.
  std::vector<std::pair<std::string, std::string>> extra;
};

struct Body {
  Status status = Status::ok;
  std::string detail;  // unless ok
  std::string json;
};

// Images are the stored bytes with the type that these bytes show; what is neither PNG, JPEG, GIF
// nor WebP is sent as PNG, a video as its frames. A missing or undecodable one gives missing_media.
Body request_body(const ChatRequest& request, const BodySettings& settings, const WireForm& form,
                  MediaStore& media);

// The members of a JSON object. Throws ConfigError when `text` is none, or has a member that cannot
// be replaced (messages, stream).
std::vector<std::pair<std::string, std::string>> read_extra_body(const std::string& text);

}  // namespace dt2it::openai
