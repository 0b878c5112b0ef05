// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the two halves of HttpLoop share; nobody else's.

#include <curl/curl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "dt2it/remote_mllm.hpp"

namespace dt2it {

inline constexpr std::size_t kLongestAnswer = 64 << 20;  // bytes; no model writes that much
inline constexpr std::size_t kLongestHead = 256 << 10;
inline constexpr std::size_t kLongestFile = std::size_t{16} << 30;  // answers of a whole batch

struct PlainTarget;

class Channel {
 public:
  explicit Channel(const Endpoint& endpoint);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // With all that stays the same for its transfers. Throws Error when memory is out.
  CURL* new_handle() const;

  const Endpoint endpoint;  // as it was when the channel was made
  curl_slist* headers = nullptr;
  // Touched by the loop's thread only.
  std::vector<CURL*> idle;
  std::unordered_map<std::string, std::unique_ptr<PlainTarget>>
      plain;  // by URL; null: not for PlainHttp
};

}  // namespace dt2it
