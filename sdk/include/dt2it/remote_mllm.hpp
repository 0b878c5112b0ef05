// SPDX-License-Identifier: Apache-2.0
#pragma once

// An MLLM behind an HTTP endpoint. A plugin says how a request is written and what an answer means; the
// host sends, waits, tries again, keeps the pace, counts the money and stores every answer, the same for
// all of them (docs/model_calls.md).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dt2it/mllm.hpp"

namespace dt2it {

// Per million tokens, in one currency for the whole run. All zero: not known, and nothing is counted.
struct Prices {
  double input = 0;
  double cached_input = 0;
  double output = 0;
  double batch_factor = 0.5;  // what a call in a batch costs, of the above
  std::string date;           // as of when, for the report
};

// How many tokens an image will be, before the server says so. Tiles: `base` plus `per_tile` for each
// tile of `size` pixels once the image is within 2048 x 2048 and its short side within 768; patches: one
// token a patch of `size` pixels, at most `most`.
struct ImageTokens {
  enum class Rule : std::uint8_t { patches, tiles };
  Rule rule = Rule::patches;
  int size = 32;
  int base = 0;
  int per_tile = 0;
  int most = 16384;
};

// Where and how an MLLM is reached.
struct Endpoint {
  std::string url;  // base, for messages; components of one url and model share their pace
  std::string model;
  std::string identity;              // JSON of what decides an answer besides the request; no key
  std::vector<std::string> headers;  // whole lines without line ends
  std::string secret;                // the key: blotted out of all that is shown or stored

  double timeout_seconds = 600;  // of one exchange
  double connect_timeout_seconds = 5;
  double silence_seconds = 300;  // without a byte
  std::string proxy;             // empty: none, whatever the environment says
  std::string ca_file;           // certificates to trust; empty: the system's

  int retries = 6;
  double retry_delay_seconds = 0.5;
  double max_retry_delay_seconds = 60;
  int outage_limit = 30;  // calls in a row without an answer that stop the endpoint; 0: never

  double requests_per_minute = 0;  // 0: no limit known
  double tokens_per_minute = 0;
  int max_in_flight = 256;
  bool adapt = true;  // find the best number in flight; false: always max_in_flight

  Prices prices;
  ImageTokens image_tokens;
  std::int64_t max_tokens = 0;  // of answers to requests that state no limit; 0: not known

  bool batch = false;  // collect calls into batches
  double batch_poll_seconds = 30;
  std::string files_url;  // where batch files are uploaded; empty: the wire has no batches
  std::string batches_url;
  std::string batch_path;  // what lines of a batch name as their url
};

struct WireRequest {
  Status status = Status::ok;  // otherwise nothing is sent, and `detail` says why
  std::string detail;
  std::string url;
  std::vector<std::shared_ptr<const std::string>> body;  // sent one behind the other
  std::uint32_t form = 0;  // the plugin's own: how it was written, handed back to read()
};

struct HttpAnswer {
  long status = 0;  // 0: no answer came, and `problem` says why
  std::string problem;
  bool hopeless = false;  // and none will: bad address, certificate not trusted
  std::string head;       // header lines as they came
  std::string body;

  std::string header(std::string_view lower_case_name) const;
};

// What an answer means for the call.
struct WireReading {
  enum class Next : std::uint8_t {
    done,     // reply holds
    changed,  // the plugin has learned how this server wants it: write the request once more
    retry,    // passing trouble
    stop,     // no request of this endpoint will do: bad key, no money, unknown model
  };
  Next next = Next::done;
  ChatReply reply;
  std::string problem;  // unless done
  bool usage_known = true;
};

// Thread-safe: the host calls all members from several threads.
class DT2IT_API RemoteMllm : public Mllm {
 public:
  virtual const Endpoint& endpoint() const = 0;
  virtual WireRequest write(const ChatRequest& request) = 0;
  virtual WireReading read(const ChatRequest& request, std::uint32_t form,
                           const HttpAnswer& answer) = 0;

  // The host never calls it, nor should anyone else: it asks by way of the members above.
  ChatReply chat(const ChatRequest&) final {
    ChatReply reply;
    reply.detail = "a remote model is asked by the host";
    return reply;
  }
};

inline std::string HttpAnswer::header(std::string_view lower_case_name) const {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (std::size_t at = 0; at < head.size();) {
    std::size_t end = head.find('\n', at);
    if (end == std::string::npos) end = head.size();
    std::size_t i = 0;
    while (i < lower_case_name.size() && at + i < end && lower(head[at + i]) == lower_case_name[i])
      ++i;
    if (i == lower_case_name.size() && at + i < end && head[at + i] == ':') {
      std::size_t first = at + i + 1;
      while (first < end && (head[first] == ' ' || head[first] == '\t')) ++first;
      std::size_t last = end;
      while (last > first && (head[last - 1] == '\r' || head[last - 1] == ' ')) --last;
      return head.substr(first, last - first);
    }
    at = end + 1;
  }
  return {};
}

}  // namespace dt2it
