// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/report/run_summary.hpp"

namespace dt2it::report {

// A data card in Markdown for pairs that are given away: counts by source, group and writer,
// licences of the sources, and, where the run is known (may be null), the experiment, versions,
// judges, what each stage dropped and what the calls cost. `licences`: by source, as the user gives
// them; what is known of published sets is added, the rest is said to be unknown.
std::string data_card(const std::string& name, const std::filesystem::path& pairs,
                      const RunSummary* run, const std::map<std::string, std::string>& licences);

}  // namespace dt2it::report
