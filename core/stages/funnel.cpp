// SPDX-License-Identifier: Apache-2.0
#include "core/stages/funnel.hpp"

#include "core/run/layout.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"

namespace dt2it {

void Funnel::write(const std::filesystem::path& folder) const {
  JsonWriter json;
  json.begin_object().key("steps").begin_array();
  for (const Step& step : steps_) {
    json.begin_object();
    json.key("name").value(step.name);
    json.key("count").value(static_cast<std::int64_t>(step.count));
    json.key("dropped").begin_object();
    for (const auto& [reason, count] : step.dropped)
      json.key(reason).value(static_cast<std::int64_t>(count));
    json.end_object();
    json.end_object();
  }
  json.end_array().end_object();
  write_file_atomically(folder / layout::kFunnel, json.text() + "\n");
}

}  // namespace dt2it
