// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/util/file_writer.hpp"
#include "core/util/journal.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/types.hpp"

namespace dt2it {

// decisions.jsonl of a curation as it grows in the work folder, and how many windows of it are whole. Windows are numbered through
// all passes. For one thread; what it appends is written by another one.
class DecisionLog {
 public:
  // What a line says.
  struct Line {
    // `pair` as the curator saw it; `curator` must outlive the log.
    Line(std::size_t row, const std::string& curator, const PreferencePair& pair,
         Decision&& decision);

    std::size_t row;
    const std::string* curator;
    std::string id, source;
    Decision decision;
    struct Side {
      std::string mllm;
      std::size_t length = 0;
    };
    std::array<Side, 2>
        sides;  // chosen, rejected; only where there are votes: what may sway those who vote
  };

  // What is read back.
  struct Entry {
    std::size_t row = 0;
    std::string curator;
    Decision decision;  // without texts
  };

  explicit DecisionLog(const std::filesystem::path& work);
  ~DecisionLog();  // what was appended is written
  DecisionLog(const DecisionLog&) = delete;
  DecisionLog& operator=(const DecisionLog&) = delete;

  // From before the process began.
  bool has(std::size_t window) const { return window < before_; }
  // Of a window that is there; they are asked for in order.
  std::vector<Entry> read(std::size_t window);

  // Throws what went wrong with this one or one before it.
  void append(std::size_t window, std::vector<Line> lines);

  // Throws likewise. The file stays in the work folder too, for the process may die before the stage is finished.
  void put_into(const std::filesystem::path& target);

 private:
  void write();

  const std::filesystem::path file_;
  std::optional<Journal> ends_;  // window -> where its lines end
  std::size_t before_ = 0;
  std::uint64_t end_ = 0, read_ = 0;
  std::optional<FileWriter> out_;
  std::optional<LineReader> old_;

  std::mutex mutex_;
  std::condition_variable appended_, written_;
  struct Window {
    std::size_t number = 0;
    std::vector<Line> lines;
  };
  std::vector<Window> waiting_;
  bool writing_ = false, over_ = false;
  std::exception_ptr error_;
  std::thread writer_;
};

}  // namespace dt2it
