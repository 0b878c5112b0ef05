// SPDX-License-Identifier: Apache-2.0
#pragma once

// [plan] of a profile: stated sizes and rates from which `dt2it plan` foretells work that no data are there for yet. It is read
// by `plan` alone and part of no key.

#include <filesystem>
#include <map>
#include <string>

namespace dt2it {

class PlanFacts {
 public:
  // Of a profile and the profiles that it extends; tables are flattened with dots ("datasets.prompts"). Throws ConfigError.
  static PlanFacts read(const std::filesystem::path& profile);

  bool empty() const { return numbers_.empty(); }
  // The number, else that of "default" in the same table, else ConfigError naming what [plan] lacks.
  double number(const std::string& name) const;
  std::string text(const std::string& name) const;  // empty: not stated

 private:
  std::string file_;
  std::map<std::string, double> numbers_;
  std::map<std::string, std::string> texts_;
};

}  // namespace dt2it
