// SPDX-License-Identifier: Apache-2.0
#pragma once

// Several judges compare the responses of pairs, in both orders (paper section 3.3, third step);
// shared by the curators that ask judges.

#include <fmt/format.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dt2it/context.hpp"
#include "dt2it/error.hpp"
#include "dt2it/judge.hpp"
#include "plugins/common/concurrent.hpp"

namespace dt2it {

// One answer of one judge.
struct PanelVerdict {
  std::size_t judge = 0;  // position in the panel
  bool chosen_first = true;
  Verdict verdict;
};

// What the panel says of one pair. A tie is half a vote for each.
struct PanelVote {
  double chosen = 0, rejected = 0;
  std::size_t failed = 0;  // comparisons without an answer
  std::vector<PanelVerdict> verdicts;
  double votes() const { return chosen + rejected; }
};

class JudgePanel {
 public:
  // Throws ConfigError without a judge.
  JudgePanel(std::vector<std::string> names, bool both_orders, int concurrency, Context& context)
      : names_(std::move(names)),
        both_orders_(both_orders),
        concurrency_(concurrency),
        context_(context) {
    if (names_.empty()) throw ConfigError("judges: name at least one judge");
    for (const std::string& name : names_) judges_.push_back(context.component<Judge>(name));
  }

  const std::string& name(std::size_t judge) const { return names_[judge]; }

  // Asks from several threads, since most judges are remote. One for each of `which`, same order;
  // pairs with two prompts cannot be compared and get no verdicts.
  std::vector<PanelVote> ask(std::span<const PreferencePair> pairs,
                             std::span<const std::size_t> which) const {
    struct Task {
      std::size_t place;
      PanelVerdict verdict;
    };
    std::vector<Task> tasks;
    for (std::size_t place = 0; place < which.size(); ++place) {
      const PreferencePair& pair = pairs[which[place]];
      if (pair.rejected_prompt) continue;
      for (std::size_t judge = 0; judge < judges_.size(); ++judge) {
        if (both_orders_) {
          tasks.push_back({place, {judge, true, {}}});
          tasks.push_back({place, {judge, false, {}}});
        } else {
          const bool first =
              context_.rng(fmt::format("order/{}/{}", pair.id, names_[judge])).chance(0.5);
          tasks.push_back({place, {judge, first, {}}});
        }
      }
    }
    concurrently(tasks.size(), concurrency_, [&](std::size_t at) {
      PanelVerdict& task = tasks[at].verdict;
      const PreferencePair& pair = pairs[which[tasks[at].place]];
      task.verdict =
          judges_[task.judge]->compare(pair.prompt, task.chosen_first ? pair.chosen : pair.rejected,
                                       task.chosen_first ? pair.rejected : pair.chosen);
    });

    std::vector<PanelVote> votes(which.size());
    for (Task& task : tasks) {
      PanelVote& vote = votes[task.place];
      const Verdict& verdict = task.verdict.verdict;
      if (!verdict.ok()) {
        ++vote.failed;
      } else if (verdict.winner == Verdict::Winner::tie) {
        vote.chosen += 0.5;
        vote.rejected += 0.5;
      } else {
        ((verdict.winner == Verdict::Winner::first) == task.verdict.chosen_first ? vote.chosen
                                                                                 : vote.rejected) +=
            1;
      }
      vote.verdicts.push_back(std::move(task.verdict));
    }
    return votes;
  }

 private:
  const std::vector<std::string> names_;
  const bool both_orders_;
  const int concurrency_;
  Context& context_;
  std::vector<std::shared_ptr<Judge>> judges_;
};

}  // namespace dt2it
