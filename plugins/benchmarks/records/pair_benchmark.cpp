// SPDX-License-Identifier: Apache-2.0
#include "plugins/benchmarks/records/pair_benchmark.hpp"

#include "dt2it/error.hpp"

namespace dt2it::records {

namespace {

const char* name_of(Status status) {
  switch (status) {
    case Status::ok: return "ok";
    case Status::unparsed: return "unparsed";
    case Status::refused: return "refused";
    case Status::truncated: return "truncated";
    case Status::unavailable: return "unavailable";
    case Status::missing_media: return "missing_media";
    case Status::invalid: return "invalid";
  }
  return "invalid";
}

}  // namespace

class PairBenchmark::FileStream final : public Stream<PreferencePair> {
 public:
  FileStream(PairBenchmark& owner, const std::filesystem::path& file)
      : owner_(owner), reader_(file) {}
  bool next(PreferencePair& pair) override {
    simdjson::dom::object record;
    if (!reader_.next(record)) return false;
    pair = owner_.read(record, reader_.where());
    return true;
  }

 private:
  PairBenchmark& owner_;
  RecordReader reader_;
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

std::unique_ptr<Stream<PreferencePair>> PairBenchmark::items() {
  if (!params_.dataset.empty())
    return std::make_unique<DatasetStream>(*this, context_.component<Dataset>(params_.dataset));
  const std::filesystem::path file = find_data_file(params_.data, usual_names());
  root_ = params_.media_root.empty() ? file.parent_path() : params_.media_root;
  return std::make_unique<FileStream>(*this, file);
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
    metrics.push_back(count.metric(std::string("failed/") + name_of(status)));
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
