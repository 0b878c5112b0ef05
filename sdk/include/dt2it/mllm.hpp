// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

struct Sampling {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<std::int64_t> max_tokens;
  std::int64_t sample =
      0;  // which of several draws of the same request this is: part of its identity
};

enum class ResponseFormat : std::uint8_t { text, json };

struct ChatRequest {
  std::vector<Message> messages;
  Sampling sampling;
  ResponseFormat format = ResponseFormat::text;
  std::string
      json_schema;      // JSON Schema text; only a wish: a reply must still be parsed tolerantly
  std::string purpose;  // what it is for ("candidates", "listwise" ...): for the ledger, not sent
};

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t completion_tokens = 0;
};

struct ChatReply {
  Status status = Status::unavailable;
  std::string text;
  std::string finish_reason;  // "stop", "length", "content_filter" ...
  std::string model;          // as the server named itself
  std::string detail;         // why the status is not ok
  Usage usage;
};

// A multimodal large language model that answers. Thread-safe: the host calls it from many workers.
// A failure to answer is a status; only a configuration that can never work throws ModelError.
class DT2IT_API Mllm {
 public:
  static constexpr const char* kKind = "mllms";
  virtual ~Mllm() = default;
  virtual ChatReply chat(const ChatRequest& request) = 0;
};

}  // namespace dt2it
