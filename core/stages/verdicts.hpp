// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "dt2it/verdict_model.hpp"

namespace dt2it {

// Verdicts as an evaluate stage keeps them: a line for each item, with all that conventions need to count them again.
//   {"benchmark", "row", "id", "group", "media", "key", "length", "extra", "samples": [{"chosen_first", "form", "verdict"}]}
std::string to_json(const JudgedItem& item, const std::string& benchmark);

// Those of one benchmark, in their order; empty `benchmark`: of the only one in the file. Throws DataError naming file and line.
std::vector<JudgedItem> read_judged(const std::filesystem::path& file,
                                    const std::string& benchmark);

}  // namespace dt2it
