// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/report/run_summary.hpp"
#include "core/util/json.hpp"

namespace dt2it::report {

// The keys "curations" and "flows" of a run.
void write_curations(JsonWriter& json, const RunSummary& run);

}  // namespace dt2it::report
