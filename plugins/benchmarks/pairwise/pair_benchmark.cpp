// SPDX-License-Identifier: Apache-2.0
#include "plugins/benchmarks/pairwise/pair_benchmark.hpp"

#include <algorithm>

#include "dt2it/error.hpp"
#include "dt2it/names.hpp"
#include "plugins/benchmarks/pairwise/tsv_rows.hpp"
#include "plugins/common/records/row_reader.hpp"

namespace dt2it::records {

namespace {

namespace fs = std::filesystem;

constexpr char kAllowed[] =
    "a .json file with an array of objects, a .jsonl file with one object a line, a .parquet file, "
    "a .tsv table";

bool is_carrier(const fs::path& file) {
  const std::string ending = file.extension().string();
  return ending == ".json" || ending == ".jsonl" || ending == ".ndjson" || ending == ".parquet" ||
         ending == ".tsv";
}

// The files in `folder` that are meant by a name, in which one '*' may stand.
std::vector<fs::path> named(const fs::path& folder, const std::string& name) {
  std::error_code error;
  const std::size_t star = name.find('*');
  if (star == name.npos)
    return fs::is_regular_file(folder / name, error) ? std::vector<fs::path>{folder / name}
                                                     : std::vector<fs::path>{};
  const fs::path pattern(name);
  const std::string file = pattern.filename().string(), before = file.substr(0, file.find('*')),
                    behind = file.substr(file.find('*') + 1);
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder / pattern.parent_path(), error)) {
    const std::string one = entry.path().filename().string();
    if (one.size() >= before.size() + behind.size() && one.starts_with(before) &&
        one.ends_with(behind))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

// The files' records, one after the other.
class PairBenchmark::FileStream final : public Stream<PreferencePair> {
 public:
  FileStream(PairBenchmark& owner, std::vector<fs::path> files)
      : owner_(owner), files_(std::move(files)) {}
  bool next(PreferencePair& pair) override {
    simdjson::dom::object record;
    while (!rows_ || !rows_->next(record)) {
      if (at_ == files_.size()) return false;
      const fs::path& file = files_[at_++];
      rows_ = file.extension() == ".tsv" ? open_tsv(file, owner_.media())
                                         : open_rows(file, {}, owner_.media());
    }
    pair = owner_.read(record, rows_->where());
    owner_.on_item(row_++, pair);
    return true;
  }

 private:
  PairBenchmark& owner_;
  std::size_t row_ = 0;
  const std::vector<fs::path> files_;
  std::size_t at_ = 0;
  std::unique_ptr<RowReader> rows_;
};

class PairBenchmark::DatasetStream final : public Stream<PreferencePair> {
 public:
  DatasetStream(const PairBenchmark& owner, std::shared_ptr<Dataset> dataset)
      : owner_(owner), dataset_(std::move(dataset)), pairs_(dataset_->pairs()) {}
  bool next(PreferencePair& pair) override {
    if (!pairs_->next(pair)) return false;
    if (pair.prompt.messages.empty())
      throw DataError("data set '" + owner_.params_.dataset + "': record '" + pair.id +
                      "' is no pair: " + pair.extra);
    const std::string group = owner_.normal_group(pair.group, pair.id);
    if (group.empty())
      throw DataError("data set '" + owner_.params_.dataset + "': pair '" + pair.id +
                      "' has the group '" + pair.group + "' (allowed: " + owner_.allowed_groups() +
                      ")");
    pair.group = group;
    return true;
  }

 private:
  const PairBenchmark& owner_;
  std::shared_ptr<Dataset> dataset_;
  std::unique_ptr<Stream<PreferencePair>> pairs_;
};

PairBenchmark::PairBenchmark(const PairBenchmarkParams& params, Context& context)
    : params_(params), context_(context) {
  if (params.data.empty() == params.dataset.empty())
    throw ConfigError(
        std::string("a benchmark needs exactly one of 'data' (a file or folder) and 'dataset' "
                    "(a [datasets.*] table); ") +
        (params.data.empty() ? "none is given" : "both are given"));
}

std::vector<fs::path> PairBenchmark::files() const {
  const fs::path& data = params_.data;
  std::error_code error;
  if (!fs::exists(data, error))
    throw DataError(data.string() + ": no such file or folder (allowed: " + kAllowed + ")");
  if (!fs::is_directory(data, error)) {
    if (!is_carrier(data))
      throw DataError(data.string() + ": not a file this benchmark can read (allowed: " + kAllowed +
                      ")");
    return {data};
  }
  std::string names;
  for (const std::string& name : usual_names()) {
    if (auto found = named(data, name); !found.empty()) return found;
    names += (names.empty() ? "" : ", ") + name;
  }
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(data))
    if (entry.is_regular_file(error) && is_carrier(entry.path())) found.push_back(entry.path());
  if (found.size() == 1) return found;
  throw DataError(data.string() + ": " +
                  (found.empty() ? "no file of records in this folder"
                                 : "more than one file of records in this folder; name the file") +
                  " (looked for " + names + ")");
}

std::unique_ptr<Stream<PreferencePair>> PairBenchmark::items() {
  if (!params_.dataset.empty())
    return std::make_unique<DatasetStream>(*this, context_.component<Dataset>(params_.dataset));
  std::vector<fs::path> found = files();
  std::error_code error;
  const bool in_folder =
      found.front().extension() == ".parquet" && fs::is_directory(params_.data, error);
  root_ = !params_.media_root.empty() ? params_.media_root
          : in_folder                 ? params_.data
                                      : found.front().parent_path();
  return std::make_unique<FileStream>(*this, std::move(found));
}

Count count_all(std::span<const Outcome> outcomes) {
  Count count;
  for (const Outcome& outcome : outcomes) count.add(outcome);
  return count;
}

std::map<std::string, Count> count_groups(std::span<const Outcome> outcomes) {
  std::map<std::string, Count> groups;
  for (const Outcome& outcome : outcomes) groups[outcome.group].add(outcome);
  return groups;
}

Metric macro(std::string name, const std::map<std::string, Count>& groups,
             const std::vector<std::string>& order) {
  double sum = 0;
  int present = 0;
  for (const std::string& group : order) {
    const auto found = groups.find(group);
    if (found == groups.end()) continue;
    sum += found->second.fraction();
    ++present;
  }
  return {std::move(name), present ? sum / present : 0, {}, {}};
}

void append_health(std::vector<Metric>& metrics, std::span<const Outcome> outcomes) {
  Count ties, failed, answered;
  std::map<Status, Count> statuses;
  for (const Outcome& outcome : outcomes) {
    ties.correct += outcome.tie();
    if (outcome.status == Status::ok) {
      answered.add(outcome);
    } else {
      ++failed.correct;
      ++statuses[outcome.status].correct;
    }
  }
  const auto total = static_cast<std::int64_t>(outcomes.size());
  ties.total = failed.total = total;
  metrics.push_back(answered.metric("accuracy_answered"));
  metrics.push_back(ties.metric("ties"));
  metrics.push_back(failed.metric("failed"));
  for (auto& [status, count] : statuses) {
    count.total = total;
    metrics.push_back(count.metric("failed/" + std::string(name_of(kStatusNames, status))));
  }
}

std::string with_commas(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string unknown_edition(std::span<const Outcome> outcomes,
                            const std::vector<std::string>& order, const std::string& suite,
                            const std::string& editions) {
  const auto groups = count_groups(outcomes);
  std::string parts;
  for (const std::string& group : order)
    if (const auto found = groups.find(group); found != groups.end())
      parts += (parts.empty() ? "" : ", ") + group + " " + with_commas(found->second.total);
  return with_commas(static_cast<std::int64_t>(outcomes.size())) + " rows" +
         (parts.empty() ? "" : " (" + parts + ")") + ": not the counts of a published edition of " +
         suite + " (" + editions + ")";
}

}  // namespace dt2it::records
