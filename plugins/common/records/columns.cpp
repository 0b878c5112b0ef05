// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/columns.hpp"

#include <simdjson.h>

#include <utility>

#include "dt2it/error.hpp"

namespace dt2it::records {

namespace fs = std::filesystem;

namespace {

// Takes the names that a table of dataset_info.json gives.
void rename(const simdjson::dom::element& table,
            std::initializer_list<std::pair<const char*, std::vector<std::string>*>> fields) {
  simdjson::dom::object object;
  if (table.get(object)) return;
  for (const auto& [key, field] : fields)
    if (std::string_view name; !object[key].get(name)) *field = {std::string(name)};
}

}  // namespace

std::vector<std::string> Columns::keys() const {
  std::vector<std::string> all;
  for (const auto* names :
       {&id, &messages, &system, &question, &more_question, &history, &chosen, &rejected, &answers,
        &images, &rejected_images, &videos, &provenance, &completions, &battle, &tie})
    all.insert(all.end(), names->begin(), names->end());
  return all;
}

Columns columns_of(const fs::path& data, fs::path info) {
  Columns columns;
  const bool given = !info.empty();
  if (!given) info = data.parent_path() / "dataset_info.json";
  if (!fs::exists(info)) {
    if (given) throw DataError(info.string() + ": no such file");
    return columns;
  }
  simdjson::dom::parser parser;
  simdjson::dom::object sets;
  if (parser.load(info.string()).get(sets)) throw DataError(info.string() + ": is no JSON object");
  for (const auto& [name, set] : sets) {
    std::string_view file, form;
    if (set["file_name"].get(file)) continue;
    std::error_code ignored;
    if (!fs::equivalent(info.parent_path() / std::string(file), data, ignored)) continue;
    const bool alpaca = set["formatting"].get(form) || form == "alpaca";
    if (alpaca) {
      columns.messages.clear();
      columns.question = {"instruction"};
      columns.more_question = {"input"};
      columns.answers = {"output"};
    }
    if (simdjson::dom::element table; !set["columns"].get(table))
      rename(table, {{"messages", &columns.messages},
                     {"system", &columns.system},
                     {"prompt", &columns.question},
                     {"query", &columns.more_question},
                     {"history", &columns.history},
                     {"response", &columns.answers},
                     {"chosen", &columns.chosen},
                     {"rejected", &columns.rejected},
                     {"images", &columns.images},
                     {"videos", &columns.videos}});
    if (alpaca || !set["columns"]["query"].error()) columns.instruction = columns.question;
    if (simdjson::dom::element table; !set["tags"].get(table))
      rename(table, {{"role_tag", &columns.role},
                     {"content_tag", &columns.content},
                     {"user_tag", &columns.user},
                     {"assistant_tag", &columns.assistant},
                     {"system_tag", &columns.system_role}});
    return columns;
  }
  if (given)
    throw DataError(info.string() + ": has no entry with file_name \"" + data.filename().string() +
                    "\"");
  return columns;
}

}  // namespace dt2it::records
