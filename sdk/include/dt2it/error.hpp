// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include "dt2it/export.hpp"

namespace dt2it {

// Base of every error that this software raises on purpose. The host maps each kind to an exit code.
// What is expected in bulk data (an answer that does not parse, a missing image) is a Status on the
// record, not an exception.
class DT2IT_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The user's configuration is wrong: "file:line:col: what (what is allowed)". Exit code 2.
class DT2IT_API ConfigError : public Error {
 public:
  using Error::Error;
};

// A plugin library cannot be used, or a plugin broke its contract. Exit code 3.
class DT2IT_API PluginError : public Error {
 public:
  using Error::Error;
};

// Input data cannot be read: "file:line: what (what is allowed)". Exit code 4.
class DT2IT_API DataError : public Error {
 public:
  using Error::Error;
};

// A model cannot be loaded or run (weights missing, endpoint gone for good). Exit code 5.
class DT2IT_API ModelError : public Error {
 public:
  using Error::Error;
};

}  // namespace dt2it
