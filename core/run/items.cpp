// SPDX-License-Identifier: Apache-2.0
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

namespace dt2it {

Context& StageRun::context() const { return scope.context(); }

void StageRun::for_each_item(const std::string& file, std::size_t count,
                             const std::function<std::string(std::size_t)>& work_on) {
  Journal journal(work / (file + ".journal"));
  progress->set_total(count);
  std::vector<std::size_t> todo;
  for (std::size_t i = 0; i < count; ++i)
    if (!journal.contains(i)) todo.push_back(i);
  progress->set_done(count - todo.size());

  // Items whose calls wait for a batch are worked on again when it is there; mostly there are none.
  while (!todo.empty()) {
    std::vector<std::size_t> again = work_through(todo, journal, work_on);
    if (again.empty()) break;
    if (!scope.finish_batches(stop)) throw Interrupted();
    todo = std::move(again);
  }
  journal.sync();

  LineWriter out(output / file);
  for (std::size_t i = 0; i < count; ++i)
    if (const std::string line = journal.read(i); !line.empty()) out.write(line);
  out.close();
}

std::vector<std::size_t> StageRun::work_through(
    const std::vector<std::size_t>& todo, Journal& journal,
    const std::function<std::string(std::size_t)>& work_on) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::mutex mutex;
  std::vector<std::size_t> again;
  // Kept back until the work is through: a run that ends in an outage asks for them again when it goes on.
  std::vector<std::pair<std::size_t, std::string>> unanswered;
  auto worker = [&] {
    while (!failed && !stop.load(std::memory_order_relaxed)) {
      const std::size_t at = next.fetch_add(1);
      if (at >= todo.size()) return;
      try {
        const CollectScope collected;
        std::string line = work_on(todo[at]);
        if (collected.any()) {
          std::lock_guard lock(mutex);
          again.push_back(todo[at]);
          continue;
        }
        if (collected.unanswered()) {
          std::lock_guard lock(mutex);
          unanswered.emplace_back(todo[at], std::move(line));
        } else {
          journal.append(todo[at], line);
        }
        progress->add(1);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        failed = true;
      }
    }
  };
  std::vector<std::thread> threads;
  const std::size_t wanted = std::min<std::size_t>(static_cast<std::size_t>(workers), todo.size());
  for (std::size_t i = 1; i < wanted; ++i) threads.emplace_back(worker);
  worker();
  for (std::thread& thread : threads) thread.join();
  journal.sync();
  if (failure) std::rethrow_exception(failure);
  check_stop();
  for (const auto& [at, line] : unanswered) journal.append(at, line);
  std::sort(again.begin(), again.end());
  return again;
}

}  // namespace dt2it
