// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who is behind the names of scorers, judges and candidates' writers, as the stages of a run have
// it in their stage.json, and of which family of models: a judge may favour its own.

#include <map>
#include <string>
#include <string_view>

#include "core/report/run_summary.hpp"

namespace dt2it::report {

// "gpt" of "gpt-5.2" and "chatgpt-4o-latest", "qwen" of "Qwen/Qwen2.5-VL-7B-Instruct": the letters
// that a model's name begins with.
std::string family_of_model(std::string_view model);

class Families {
 public:
  explicit Families(const RunSummary& run);

  // Empty where it is not known, or several are behind the name.
  std::string of_writer(const std::string& mllm) const;
  std::string of_judge(const std::string& judge) const;
  std::string of_scorer(const std::string& scorer) const;
  // The [mllms.*] component that the judge asks.
  std::string mllm_of_judge(const std::string& judge) const;
  // What the calls of a scorer's stages have cost.
  double cost_of_scorer(const std::string& scorer) const;

 private:
  static std::string find(const std::map<std::string, std::string>& names, const std::string& name);
  std::map<std::string, std::string> judges_, mllms_,
      models_;  // scorer: judge; judge: mllm; mllm: model
  std::map<std::string, double> scorer_costs_;
};

}  // namespace dt2it::report
