// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <string>

#include "dt2it/media.hpp"

namespace dt2it {

// Whether an address is one of the public internet: not private, loopback, link-local, multicast,
// reserved, nor IPv6 that carries such an IPv4 address.
bool is_public_address(const sockaddr& address);

struct RemoteImageRules {
  std::size_t most_bytes = 20u << 20;
  double seconds = 10;
  long redirects = 3;
  std::function<bool(const sockaddr&)> allowed = is_public_address;
};

// The bytes behind an http or https address that a stranger named. The address that is connected to
// is checked, so names that resolve to a private one and redirects that lead to one are refused
// too; no proxy, no credentials, no other protocols. Throws DataError. Thread-safe.
Bytes fetch_remote_image(const std::string& url, const RemoteImageRules& rules);

}  // namespace dt2it
