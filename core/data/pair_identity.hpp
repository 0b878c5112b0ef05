// SPDX-License-Identifier: Apache-2.0
#pragma once

// Knows a pair again after its labels were turned.

#include <cstdint>

#include "dt2it/types.hpp"

namespace dt2it {

struct PairIdentity {
  std::uint64_t pair = 0;  // of id, source and both sides, in whatever order they stand
  std::uint64_t chosen = 0,
                rejected = 0;  // of each side: its response and, where there are two, its prompt
};

PairIdentity identity_of(const PreferencePair& pair);

}  // namespace dt2it
