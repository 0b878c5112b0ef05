// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/pair_stream.hpp"

#include <charconv>

#include "dt2it/error.hpp"
#include "dt2it/json_text.hpp"
#include "plugins/common/records/ratings.hpp"

namespace dt2it::records {
namespace {

constexpr char kUnusable[] = "unusable record";

std::string number(double value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

PreferencePair dropped(const std::string& id, const std::string& source, const std::string& reason,
                       const std::string& detail) {
  PreferencePair pair;
  pair.id = id;
  pair.source = source;
  pair.extra = "{\"dropped\":" + json_text(reason);
  if (!detail.empty()) pair.extra += ",\"detail\":" + json_text(detail);
  pair.extra += '}';
  return pair;
}

std::vector<PreferencePair> rated_pairs(const AnswerRecord& record, const std::string& id,
                                        const std::string& source) {
  std::vector<PreferencePair> pairs;
  for (std::size_t i = 0; i < record.responses.size(); ++i)
    for (std::size_t j = i + 1; j < record.responses.size(); ++j) {
      const auto a = rating_of(record.responses[i]), b = rating_of(record.responses[j]);
      const bool first = a && b && *a > *b;
      const Response& chosen = record.responses[first ? i : j];
      const Response& rejected = record.responses[first ? j : i];
      const std::string name = id + "/" + chosen.id + "-" + rejected.id;
      if (!a || !b) {
        pairs.push_back(dropped(name, source, "no rating", ""));
      } else if (*a == *b) {
        pairs.push_back(dropped(name, source, "equal ratings", ""));
      } else {
        PreferencePair& pair = pairs.emplace_back();
        pair.id = name;
        pair.source = source;
        pair.prompt = record.prompt;
        pair.prompt.id = id;
        pair.chosen = chosen;
        pair.rejected = rejected;
        pair.chosen.origin = pair.rejected.origin = "dataset";
        // By the responses' ids, as stage `pair` leaves scores: a flip must not turn them round.
        pair.extra = R"({"scores":{"ratings":{)" + json_text(chosen.id) + ":" +
                     number(first ? *a : *b) + "," + json_text(rejected.id) + ":" +
                     number(first ? *b : *a) + "}}}";
      }
    }
  return pairs;
}

}  // namespace

std::vector<PreferencePair> pairs_of(AnswerRecord record, const std::string& source) {
  const std::string id = record.id.empty() ? std::to_string(record.row) : record.id;
  const std::string from = source.empty() ? record.prompt.source : source;
  if (record.status != Status::ok) return {dropped(id, from, kUnusable, record.detail)};
  if (!record.responses.empty() && is_rated(record.responses.front())) {
    auto pairs = rated_pairs(record, id, from);
    if (pairs.empty()) pairs.push_back(dropped(id, from, "a single response", ""));
    return pairs;
  }
  if (!record.pair)
    return {record.detail.empty()
                ? dropped(id, from, kUnusable, "record '" + id + "' is no preference pair")
                : dropped(id, from, record.detail, "")};
  std::vector<PreferencePair> pairs;
  pairs.push_back(pair_of(std::move(record), source));
  return pairs;
}

bool PairStream::next(PreferencePair& pair) {
  for (;;) {
    while (at_ < ready_.size()) {
      pair = std::move(ready_[at_++]);
      if (!strict_ || !pair.prompt.messages.empty()) return true;
    }
    AnswerRecord record;
    if (!answers_->next(record)) return false;
    if (strict_ && record.status != Status::ok) throw DataError(record.detail);
    ready_ = pairs_of(std::move(record), source_);
    at_ = 0;
  }
}

}  // namespace dt2it::records
