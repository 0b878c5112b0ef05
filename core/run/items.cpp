// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

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

  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::mutex mutex;
  auto worker = [&] {
    while (!failed && !stop.load(std::memory_order_relaxed)) {
      const std::size_t at = next.fetch_add(1);
      if (at >= todo.size()) return;
      try {
        journal.append(todo[at], work_on(todo[at]));
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

  LineWriter out(output / file);
  for (std::size_t i = 0; i < count; ++i)
    if (const std::string line = journal.read(i); !line.empty()) out.write(line);
  out.close();
}

}  // namespace dt2it
