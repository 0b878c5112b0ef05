// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dt2it/export.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// Makes a preference pair for a reward model out of a text-to-image preference (paper section 3.2).
// Thread-safe. Makes a pair of every preference: what cannot be had is refused when the plugin is configured (ConfigError).
class DT2IT_API Reformulator {
 public:
  static constexpr const char* kKind = "reformulators";
  virtual ~Reformulator() = default;
  virtual PreferencePair reformulate(const ImagePreference& preference) = 0;
};

}  // namespace dt2it
