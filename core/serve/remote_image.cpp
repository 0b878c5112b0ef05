// SPDX-License-Identifier: Apache-2.0
#include "core/serve/remote_image.hpp"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "dt2it/error.hpp"

namespace dt2it {
namespace {

bool is_public_ipv4(std::uint32_t host_order) {
  struct Block {
    std::uint32_t network;
    int bits;
  };
  // IANA's special-purpose registry, multicast and reserved space.
  constexpr Block kSpecial[] = {
      {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
      {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
      {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4}};
  for (const auto& [network, bits] : kSpecial)
    if ((host_order ^ network) >> (32 - bits) == 0) return false;
  return true;
}

struct Transfer {
  const RemoteImageRules& rules;
  Bytes bytes;
  bool refused = false, too_long = false;
};

curl_socket_t open_checked(void* data, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(data);
  if (!transfer.rules.allowed(address->addr)) {
    transfer.refused = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

std::size_t take(char* data, std::size_t size, std::size_t count, void* target) {
  auto& transfer = *static_cast<Transfer*>(target);
  const std::size_t length = size * count;
  if (transfer.bytes.size() + length > transfer.rules.most_bytes) {
    transfer.too_long = true;
    return 0;
  }
  transfer.bytes.insert(transfer.bytes.end(), data, data + length);
  return length;
}

}  // namespace

bool is_public_address(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return is_public_ipv4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof v6);
  const unsigned char* b = v6.sin6_addr.s6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
    return is_public_ipv4(std::uint32_t{b[12]} << 24 | b[13] << 16 | b[14] << 8 | b[15]);
  // Of 2000::/3, what is global: without Teredo and other protocol assignments, documentation, and
  // 6to4.
  if ((b[0] & 0xe0) != 0x20) return false;
  if (b[0] == 0x20 && b[1] == 0x01 && (b[2] < 2 || (b[2] == 0x0d && b[3] == 0xb8))) return false;
  if (b[0] == 0x20 && b[1] == 0x02) return false;
  return !(b[0] == 0x3f && b[1] == 0xff);
}

Bytes fetch_remote_image(const std::string& url, const RemoteImageRules& rules) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, void (*)(CURL*)> handle(
      started == CURLE_OK ? curl_easy_init() : nullptr, curl_easy_cleanup);
  if (!handle) throw DataError("libcurl does not start");
  Transfer transfer{rules, {}};
  char problem[CURL_ERROR_SIZE] = {};
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_PROXY, "");  // a proxy would connect for us, unchecked
  curl_easy_setopt(curl, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, rules.redirects > 0 ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, rules.redirects);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_checked);
  curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  // To curl 0 is for ever.
  const auto milliseconds = [](double seconds) {
    return std::max(1L, static_cast<long>(seconds * 1000));
  };
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, milliseconds(rules.seconds));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(rules.seconds / 2));
  curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(rules.most_bytes));
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "dt2it");
  const CURLcode code = curl_easy_perform(curl);
  if (code == CURLE_OK) return std::move(transfer.bytes);
  if (transfer.refused) throw DataError("the address is not on the public internet");
  if (transfer.too_long || code == CURLE_FILESIZE_EXCEEDED)
    throw DataError(fmt::format("the image is longer than {} bytes", rules.most_bytes));
  throw DataError(problem[0] ? problem : curl_easy_strerror(code));
}

}  // namespace dt2it
