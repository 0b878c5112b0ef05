// SPDX-License-Identifier: Apache-2.0
#include "core/stages/record_journal.hpp"

#include <simdjson.h>

#include "core/run/layout.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

std::optional<RecordJournal::Fate> RecordJournal::fate(std::size_t record) const {
  if (!journal_.contains(record)) return std::nullopt;
  Fate fate;
  fate.line = journal_.read(record);
  fate.kept = fate.line.starts_with('K');
  fate.line.erase(0, 1);
  if (fate.kept) return fate;
  simdjson::dom::parser parser;
  std::string_view reason;
  if (parser.parse(fate.line)["reason"].get(reason))
    throw Error((stage_.work / "records.journal").string() + ": record " + std::to_string(record) +
                " is damaged (remove the file to begin this stage anew)");
  fate.reason = reason;
  return fate;
}

void RecordJournal::drop(std::size_t record, const std::string& id, const std::string& source,
                         const std::string& reason, const std::string& detail) {
  JsonWriter json;
  json.begin_object().key("id").value(id).key("source").value(source).key("reason").value(reason);
  if (detail.starts_with('{'))
    json.key("detail").raw(detail);
  else if (!detail.empty())
    json.key("detail").value(detail);
  json.end_object();
  journal_.append(record, 'D' + json.text());
}

std::size_t RecordJournal::write(const std::string& file, std::size_t records,
                                 const std::function<bool(std::size_t)>& wanted) {
  journal_.sync();
  LineWriter kept(stage_.output / file), dropped(stage_.output / layout::kDropped);
  std::size_t row = 0, written = 0;
  for (std::size_t record = 0; record < records; ++record) {
    const std::string line = journal_.read(record);
    const std::string_view text = std::string_view(line).substr(1);
    if (!line.starts_with('K')) {
      dropped.write(text);
    } else if (wanted(row++)) {
      kept.write(text);
      ++written;
    }
  }
  kept.close();
  dropped.close();
  return written;
}

}  // namespace dt2it
