// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/media.hpp"
#include "dt2it/types.hpp"

namespace dt2it::endpoint {

enum class Api : std::uint8_t { rewards, pooling, classify };

// The prompt's messages as the inside of a JSON list, media as data URLs. Throws DataError where a
// medium is absent or has no form on the wire.
std::string write_messages(const Prompt& prompt, MediaStore& media);

// A body. For pooling and classify there is one response.
std::string write_request(Api api, const std::string& model, const std::string& messages,
                          std::span<const Response> responses);

// What a body with status 200 says, `count` rewards in order; what cannot be read is `unparsed`,
// never a number.
std::vector<Reward> read_answer(Api api, std::string_view body, std::size_t count);

// What is wrong, in the server's own words where it has some, else as it came; in one line, without
// the key.
std::string read_error(long status, std::string_view body, const std::string& key = {});

}  // namespace dt2it::endpoint
