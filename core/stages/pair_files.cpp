// SPDX-License-Identifier: Apache-2.0
#include "core/stages/pair_files.hpp"

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/util/jsonl.hpp"

namespace dt2it {
namespace {

class Chain final : public Stream<PreferencePair> {
 public:
  explicit Chain(std::vector<std::filesystem::path> files) : files_(std::move(files)) {}
  bool next(PreferencePair& pair) override {
    for (;;) {
      if (reader_ && reader_->next(pair)) return true;
      if (next_ == files_.size()) return false;
      reader_ = std::make_unique<PairReader>(files_[next_++]);
    }
  }

 private:
  std::vector<std::filesystem::path> files_;
  std::size_t next_ = 0;
  std::unique_ptr<PairReader> reader_;
};

}  // namespace

std::vector<std::filesystem::path> pair_files(const StageRun& stage,
                                              const std::vector<std::string>& stages) {
  std::vector<std::filesystem::path> files;
  for (const std::string& name : stages) files.push_back(stage.input(name) / layout::kPairs);
  return files;
}

PairFiles::PairFiles(std::vector<std::filesystem::path> files) : files_(std::move(files)) {
  for (const auto& file : files_) {
    LineReader lines(file);
    std::string_view line;
    while (lines.next(line))
      if (!line.empty()) ++count_;
  }
}

std::unique_ptr<Stream<PreferencePair>> PairFiles::open() const {
  return std::make_unique<Chain>(files_);
}

std::vector<PreferencePair> PairFiles::read_all() const {
  std::vector<PreferencePair> pairs;
  pairs.reserve(count_);
  const auto stream = open();
  for (PreferencePair pair; stream->next(pair);) pairs.push_back(std::move(pair));
  return pairs;
}

}  // namespace dt2it
