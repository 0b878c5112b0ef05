// SPDX-License-Identifier: Apache-2.0
#include "core/util/sha256.hpp"

#include <openssl/sha.h>

namespace dt2it {

std::string sha256_hex(std::span<const std::uint8_t> bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(bytes.data(), bytes.size(), digest);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace dt2it
