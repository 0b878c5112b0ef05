// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dt2it {

// In a file of their own, so that the compiler cache knows a test again in another checkout.
extern const char* const kSourceDir;
extern const char* const kBuildDir;

// source_path("/tests/fixtures"): in the sources; build_path("/bin/dt2it"): in the build folder.
inline std::string source_path(const std::string& path = "") { return kSourceDir + path; }
inline std::string build_path(const std::string& path = "") { return kBuildDir + path; }

}  // namespace dt2it
