// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch.hpp>
#include <filesystem>
#include <iostream>
#include <string>

#include "tests/paths.hpp"

namespace dt2it::testing {

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(source_path()) / "../shared/golden";
}

// True, with a line that says so, where the reference data lie not beside the sources.
inline bool golden_absent() {
  if (std::filesystem::exists(golden_folder())) return false;
  std::cout << "skipped: no ../shared/golden: " << Catch::getResultCapture().getCurrentTestName()
            << "\n";
  return true;
}

}  // namespace dt2it::testing
