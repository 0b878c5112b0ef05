// SPDX-License-Identifier: Apache-2.0
#include "tests/paths.hpp"

namespace dt2it {

const char* const kSourceDir = DT2IT_SOURCE_DIR;
const char* const kBuildDir = DT2IT_BUILD_DIR;

}  // namespace dt2it
