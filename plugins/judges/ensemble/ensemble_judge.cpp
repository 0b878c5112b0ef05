// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "dt2it/judge.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// Several judges as one: mean scores, majority of comparisons. Thread-safe: only constant members.
class EnsembleJudge final : public Judge {
 public:
  struct Params {
    std::vector<std::string> judges;
    int quorum = 0;
  };
  static void describe(Schema<Params>& schema) {
    schema.component<Judge>("judges", &Params::judges, "The [judges.*] tables to ask.").required();
    schema.field("quorum", &Params::quorum, "So many must answer; 0: more than half.")
        .min(0)
        .max(99);
  }

  EnsembleJudge(const Params& params, Context& context) : names_(params.judges) {
    if (names_.empty()) throw ConfigError("judges: at least one is needed");
    for (const std::string& name : names_) judges_.push_back(context.component<Judge>(name));
    quorum_ = params.quorum > 0 ? static_cast<std::size_t>(params.quorum) : names_.size() / 2 + 1;
    if (quorum_ > names_.size())
      throw ConfigError(fmt::format("quorum: {} of {} judges cannot be", quorum_, names_.size()));
  }

  std::vector<Score> score(const Prompt& prompt, std::span<const Response> responses) override {
    std::vector<std::vector<Score>> given;
    for (const auto& judge : judges_) given.push_back(judge->score(prompt, responses));
    std::vector<Score> scores;
    for (std::size_t i = 0; i < responses.size(); ++i) {
      Score score;
      std::size_t readable = 0;
      double sum = 0;
      std::string figures, abstained;
      for (std::size_t k = 0; k < given.size(); ++k) {
        const Score& one = given[k].at(i);
        if (!one.ok()) {
          if (abstained.empty()) score.status = one.status;
          abstained += fmt::format("; {} abstained: {}", names_[k], one.detail);
          continue;
        }
        if (readable++ == 0) score.criteria = one.criteria;
        sum += one.overall;
        figures += fmt::format(" {} {:g}", names_[k], one.overall);
        score.reply += fmt::format("--- {} ---\n{}\n", names_[k], one.reply);
      }
      score.detail = fmt::format("{} of {}:{}{}", readable, names_.size(), figures, abstained);
      if (readable >= quorum_) {
        score.status = Status::ok;
        score.overall = std::round(sum / static_cast<double>(readable) * 1e6) / 1e6;
      } else {
        score.criteria.clear();
      }
      scores.push_back(std::move(score));
    }
    return scores;
  }

  Verdict compare(const Prompt& prompt, const Response& first, const Response& second) override {
    Verdict verdict;
    std::size_t for_first = 0, for_second = 0, readable = 0, abstained = 0;
    std::string votes;
    for (std::size_t k = 0; k < judges_.size(); ++k) {
      const Verdict vote = judges_[k]->compare(prompt, first, second);
      if (!vote.ok()) {
        if (abstained++ == 0) {  // where too few answer, the first one's trouble is told
          verdict.status = vote.status;
          verdict.detail = vote.detail;
        }
        votes += fmt::format(" {} abstains", names_[k]);
        continue;
      }
      ++readable;
      for_first += vote.winner == Verdict::Winner::first;
      for_second += vote.winner == Verdict::Winner::second;
      votes += fmt::format(" {} {}", names_[k],
                           vote.winner == Verdict::Winner::first    ? "first"
                           : vote.winner == Verdict::Winner::second ? "second"
                                                                    : "tie");
      verdict.reply += fmt::format("--- {} ---\n{}\n", names_[k], vote.reply);
    }
    if (readable >= quorum_) {
      verdict.status = Status::ok;
      verdict.winner = 2 * for_first > readable    ? Verdict::Winner::first
                       : 2 * for_second > readable ? Verdict::Winner::second
                                                   : Verdict::Winner::tie;
      verdict.detail.clear();
    }
    verdict.detail += (verdict.detail.empty() ? "votes:" : "; votes:") + votes;
    return verdict;
  }

 private:
  const std::vector<std::string> names_;
  std::vector<std::shared_ptr<Judge>> judges_;
  std::size_t quorum_ = 1;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("judges/ensemble", "1.0.0", registrar) {
  registrar.add<dt2it::Judge, dt2it::EnsembleJudge>(
      "ensemble", "Several judges as one: mean scores, majority of comparisons.");
}
