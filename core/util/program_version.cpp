// SPDX-License-Identifier: Apache-2.0
#include "core/util/program_version.hpp"

#include "dt2it/version.hpp"

namespace dt2it {

std::string& program_version() {
  static std::string version = DT2IT_VERSION;
  return version;
}

}  // namespace dt2it
