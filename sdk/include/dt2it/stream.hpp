// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dt2it/export.hpp"

namespace dt2it {

// Records one after the other, in constant memory. Used from one thread at a time.
template <class Record>
class DT2IT_API Stream {
 public:
  virtual ~Stream() = default;
  // False at the end; then `record` is unspecified. Throws DataError naming file and line.
  virtual bool next(Record& record) = 0;
};

}  // namespace dt2it
