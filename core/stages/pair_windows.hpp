// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "core/data/records.hpp"
#include "core/util/jsonl.hpp"

namespace dt2it {

// Some pairs that follow each other in the data, as their lines.
class PairLines {
 public:
  // Of the first one, counted through all files.
  std::size_t first() const { return first_; }
  std::size_t size() const { return places_.size(); }
  std::string_view line(std::size_t index) const {
    return std::string_view(text_).substr(places_[index].begin, places_[index].size);
  }
  // What the pair held before is gone. DataError names file and line.
  void read(std::size_t index, PreferencePair& pair, PairMarks* marks = nullptr);

 private:
  friend class PairLineSource;
  struct Place {
    std::size_t begin = 0, size = 0;
    const std::filesystem::path* file = nullptr;
    std::size_t number = 0;
  };
  std::size_t first_ = 0;
  std::string text_;
  std::vector<Place> places_;
  QuickReader quick_;
  JsonParser strict_;
};

// Cuts files into such windows. Not thread-safe.
class PairLineSource {
 public:
  explicit PairLineSource(const std::vector<std::filesystem::path>& files) : files_(files) {}
  // Empty at the end.
  void next(PairLines& lines, std::size_t count);

 private:
  const std::vector<std::filesystem::path>& files_;
  std::size_t opened_ = 0, row_ = 0;
  std::optional<LineReader> reader_;
};

// What `make` makes of each window of the files, in their order. It is called in several threads,
// for the windows ahead of the one that is asked for; what it is given to fill is one that it
// filled before. What it throws is thrown when its window is reached.
template <class Made>
class PairWindows {
 public:
  using Make = std::function<void(PairLines&, Made&)>;

  PairWindows(const std::vector<std::filesystem::path>& files, std::size_t window, Make make)
      : source_(files), window_(window), make_(std::move(make)), slots_(3 * count_of_threads()) {
    for (std::size_t i = 0; i < count_of_threads(); ++i) threads_.emplace_back([this] { work(); });
  }
  ~PairWindows() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    freed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  PairWindows(const PairWindows&) = delete;
  PairWindows& operator=(const PairWindows&) = delete;

  // False at the end. What `made` held is made use of again.
  bool next(Made& made) {
    Slot& slot = slots_[given_ % slots_.size()];
    std::unique_lock lock(mutex_);
    made_.wait(lock, [&] { return slot.ready; });
    if (slot.error) std::rethrow_exception(slot.error);
    if (slot.lines.size() == 0) return false;
    std::swap(made, slot.made);
    slot.ready = false;
    ++given_;
    // Whoever waits is woken for several at once: half of the slots are still full then.
    const bool enough = given_ % (slots_.size() / 2) == 0;
    lock.unlock();
    if (enough) freed_.notify_all();
    return true;
  }

 private:
  struct Slot {
    PairLines lines;
    Made made;
    std::exception_ptr error;
    bool ready = false;
  };

  // More would wait for the one who asks.
  static std::size_t count_of_threads() {
    return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 4);
  }

  // Lines for a slot that is free; none: there is nothing more to do.
  Slot* take() {
    const std::lock_guard one_reads(reading_);
    Slot& slot = slots_[taken_ % slots_.size()];
    {
      std::unique_lock lock(mutex_);
      freed_.wait(lock, [&] { return ended_ || taken_ < given_ + slots_.size(); });
      if (ended_) return nullptr;
    }
    ++taken_;
    try {
      source_.next(slot.lines, window_);
    } catch (...) {
      slot.error = std::current_exception();
    }
    if (slot.error || slot.lines.size() == 0) {
      const std::lock_guard lock(mutex_);
      ended_ = slot.ready = true;
      made_.notify_all();
      freed_.notify_all();
      return nullptr;
    }
    return &slot;
  }

  void work() {
    while (Slot* const slot = take()) {
      try {
        make_(slot->lines, slot->made);
      } catch (...) {
        slot->error = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex_);
        slot->ready = true;
      }
      made_.notify_all();
    }
  }

  PairLineSource source_;
  const std::size_t window_;
  const Make make_;
  std::vector<Slot> slots_;
  std::mutex reading_, mutex_;  // in this order
  std::condition_variable made_, freed_;
  std::size_t taken_ = 0, given_ = 0;  // windows
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace dt2it
