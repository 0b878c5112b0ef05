// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it::records {

// "['It is red.', \"It isn't.\"]": a list of strings as Python or JSON writes it into a cell of a table. Empty: it is none.
std::optional<std::vector<std::string>> string_list_in(std::string_view text);

}  // namespace dt2it::records
