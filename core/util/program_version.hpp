// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dt2it {

// Version and build of the program at work, as runs and reports name it: "0.1.0+g1a2b3c4". The
// program's main sets it before anything else; libraries by themselves know only the version.
std::string& program_version();

}  // namespace dt2it
