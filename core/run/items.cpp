// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "core/calls/batches.hpp"
#include "core/run/scope.hpp"
#include "core/run/stage.hpp"
#include "core/util/files.hpp"
#include "core/util/journal.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
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
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;
    std::mutex mutex;
    std::vector<std::size_t> waiting;
    auto worker = [&] {
      while (!failed && !stop.load(std::memory_order_relaxed)) {
        const std::size_t at = next.fetch_add(1);
        if (at >= todo.size()) return;
        try {
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
        } catch (...) {
          std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
          failed = true;
        }
      }
    };
    std::vector<std::thread> threads;
    const std::size_t wanted =
        std::min<std::size_t>(static_cast<std::size_t>(workers), todo.size());
    for (std::size_t i = 1; i < wanted; ++i) threads.emplace_back(worker);
    worker();
    for (std::thread& thread : threads) thread.join();
    journal.sync();
    if (failure) std::rethrow_exception(failure);
    check_stop();
    if (!waiting.empty() && !scope.finish_batches(stop)) throw Interrupted();
    std::sort(waiting.begin(), waiting.end());
    todo = std::move(waiting);
  }
  return unanswered;
}

}  // namespace dt2it
