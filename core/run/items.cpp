// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "core/calls/batches.hpp"
#include "core/run/scope.hpp"
#include "core/run/stage.hpp"
#include "core/util/files.hpp"
#include "core/util/journal.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "core/util/workers.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

Context& StageRun::context() const { return scope.context(); }

void StageRun::for_each_item(const std::string& file, std::size_t count, const WorkOn& work_on) {
  Journal journal(work / (file + ".journal"));
  progress->set_total(count);
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < count; ++i)
    if (!journal.contains(i)) todo.push_back(i);
  progress->set_done(count - todo.size());

  std::vector<Unanswered> unanswered = work_through(std::move(todo), journal, work_on);
  if (!unanswered.empty()) {  // trouble may have passed
    todo.clear();
    for (const Unanswered& one : unanswered) todo.push_back(one.item);
    unanswered = work_through(std::move(todo), journal, work_on);
  }
  end_unanswered(unanswered.size(), count, "items");
  for (const auto& [item, line] : unanswered) journal.append(item, line);
  progress->add(unanswered.size());
  journal.sync();

  LineWriter out(output / file);
  for (std::size_t i = 0; i < count; ++i)
    if (const std::string line = journal.read(i); !line.empty()) out.write(line);
  out.close();
}

void StageRun::end_unanswered(std::size_t count, std::size_t all, std::string_view items) const {
  if (count == 0 || keep_unanswered) return;
  const std::string why = scope.why_unanswered();
  throw ModelError(fmt::format(
      "{} of {} {} got no answer{}. What was answered is kept: run again to ask for the rest, or "
      "go on without it by --keep-unanswered",
      count, all, items, why.empty() ? "" : " (the last: " + why + ")"));
}

std::vector<StageRun::Unanswered> StageRun::work_through(std::vector<std::size_t> todo,
                                                         Journal& journal, const WorkOn& work_on) {
  std::vector<Unanswered> unanswered;
  // Items whose calls wait for a batch are worked on again when it is there; mostly there are none.
  while (!todo.empty()) {
    std::mutex mutex;
    std::vector<std::size_t> waiting;
    const auto work_on_one = [&](std::size_t at) {
      const CollectScope collected;
      std::string line = work_on(todo[at]);
      if (collected.any()) {
        std::lock_guard lock(mutex);
        waiting.push_back(todo[at]);
      } else if (collected.unanswered()) {
        std::lock_guard lock(mutex);
        unanswered.push_back({todo[at], std::move(line)});
      } else {
        journal.append(todo[at], line);
        progress->add(1);
      }
    };
    parallel_for(todo.size(), static_cast<std::size_t>(std::max(1, workers)), work_on_one, &stop);
    journal.sync();
    check_stop();
    if (!waiting.empty() && !scope.finish_batches(stop)) throw Interrupted();
    std::sort(waiting.begin(), waiting.end());
    todo = std::move(waiting);
  }
  return unanswered;
}

}  // namespace dt2it
