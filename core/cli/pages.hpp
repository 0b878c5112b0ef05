// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/report/tables.hpp"

namespace dt2it::cli {

// The page of these runs, which begins with the given tables; `command` as for print_reports.
void write_page(const std::vector<std::filesystem::path>& folders,
                const std::filesystem::path& html, const std::string& command,
                std::vector<report::TextTable> first);

}  // namespace dt2it::cli
