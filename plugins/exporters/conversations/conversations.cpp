// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <string>
#include <vector>

#include "dt2it/exporter.hpp"
#include "dt2it/plugin.hpp"
#include "plugins/exporters/records/exported_pair.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using exported::append_json;

// JSON lines and a folder of images, as LLaMA-Factory, ms-swift and InternVL (MMPR) read them.
class ConversationsExporter final : public Exporter {
 public:
  struct Params {
    std::string form = "llama_factory";
    bool provenance = true;
    static void describe(Schema<Params>& schema) {
      schema
          .field("form", &Params::form,
                 "llama_factory: sharegpt ranking and dataset_info.json; ms_swift; mmpr: meta.json "
                 "and question, chosen, rejected.")
          .choices({"llama_factory", "ms_swift", "mmpr"})
          .argument();
      schema.field("provenance", &Params::provenance,
                   "Add ids, sources, scores and all else that the form has no place for, under "
                   "the key dt2it; readers pass over it, "
                   "ours puts it back.");
    }
  };

  ConversationsExporter(const Params& params, Context& context)
      : params_(params), context_(context) {}

  ExportCounts write(Stream<PreferencePair>& pairs, const fs::path& folder,
                     const ExportNotes& notes) override {
    ExportCounts counts;
    const std::string file = notes.name + ".jsonl";
    exported::TextFile out(folder / file);
    for (PreferencePair pair; pairs.next(pair);) {
      std::string problem = exported::objection(pair);
      if (problem.empty()) problem = exported::mark_in_text(pair);
      if (problem.empty()) problem = own_objection(pair);
      if (!problem.empty()) {
        ++counts.left_out[problem];
        continue;
      }
      std::string line;
      try {
        line = params_.form == "llama_factory" ? sharegpt(pair, folder)
               : params_.form == "ms_swift"    ? swift(pair, folder)
                                               : mmpr(pair, folder);
      } catch (const DataError&) {
        ++counts.left_out["an image is absent"];
        continue;
      }
      if (params_.provenance) line += ",\"dt2it\":" + exported::provenance(pair);
      out.write(line + "}\n");
      ++counts.written;
    }
    out.close();
    write_index(folder, file, notes, counts.written);
    return counts;
  }

 private:
  // What this form in particular cannot hold.
  std::string own_objection(const PreferencePair& pair) const {
    if (pair.rejected_prompt && params_.form != "ms_swift")
      return "the two sides have prompts of their own";
    if (pair.rejected_prompt && texts_of(pair.prompt) != texts_of(*pair.rejected_prompt))
      return "the two sides have questions of their own";
    std::size_t turns = pair.prompt.messages.size();
    const bool system = turns > 0 && pair.prompt.messages.front().role == Message::Role::system;
    if (params_.form == "mmpr" && turns != 1)
      return system ? "has a system message" : "has several turns";
    Message::Role expected = Message::Role::user;
    for (std::size_t i = system ? 1 : 0; i < turns; ++i) {
      if (pair.prompt.messages[i].role != expected) return "its turns do not alternate";
      expected = expected == Message::Role::user ? Message::Role::assistant : Message::Role::user;
    }
    if (expected != Message::Role::assistant) return "its last message is not the user's";
    for (std::size_t i = 0; i < turns; ++i)
      if (pair.prompt.messages[i].role != Message::Role::user)
        for (const Part& part : pair.prompt.messages[i].content)
          if (part.kind != Part::Kind::text) return "a message that is not the user's has an image";
    return {};
  }

  static std::vector<std::string> texts_of(const Prompt& prompt) {
    std::vector<std::string> texts;
    for (const Message& message : prompt.messages) texts.push_back(exported::marked_text(message));
    return texts;
  }

  std::string images(const Prompt& prompt, const fs::path& folder) const {
    std::string list = "[";
    for (const Media* image : exported::images_of(prompt)) {
      if (list.size() > 1) list += ',';
      append_json(list, exported::write_image(*image, folder, context_.media()));
    }
    return list + "]";
  }

  std::string sharegpt(const PreferencePair& pair, const fs::path& folder) const {
    std::string line = "{\"conversations\":[";
    std::string system;
    bool first = true;
    for (const Message& message : pair.prompt.messages) {
      const std::string text = exported::marked_text(message);
      if (message.role == Message::Role::system) {
        system = text;
        continue;
      }
      line += first ? "" : ",";
      first = false;
      line += message.role == Message::Role::user ? R"({"from":"human","value":)"
                                                  : R"({"from":"gpt","value":)";
      append_json(line, text);
      line += '}';
    }
    line += R"(],"chosen":{"from":"gpt","value":)";
    append_json(line, pair.chosen.text);
    line += R"(},"rejected":{"from":"gpt","value":)";
    append_json(line, pair.rejected.text);
    line += R"(},"images":)" + images(pair.prompt, folder) + R"(,"system":)";
    append_json(line, system);
    return line;
  }

  std::string swift(const PreferencePair& pair, const fs::path& folder) const {
    std::string line = "{\"messages\":[";
    for (const Message& message : pair.prompt.messages) {
      const bool user = message.role == Message::Role::user,
                 system = message.role == Message::Role::system;
      line += user     ? R"({"role":"user","content":)"
              : system ? R"({"role":"system","content":)"
                       : R"({"role":"assistant","content":)";
      append_json(line, exported::marked_text(message));
      line += "},";
    }
    line += R"({"role":"assistant","content":)";
    append_json(line, pair.chosen.text);
    line += R"(}],"rejected_response":)";
    append_json(line, pair.rejected.text);
    line += ",\"images\":" + images(pair.prompt, folder);
    if (pair.rejected_prompt)
      line += ",\"rejected_images\":" + images(*pair.rejected_prompt, folder);
    return line;
  }

  std::string mmpr(const PreferencePair& pair, const fs::path& folder) const {
    const auto all = exported::images_of(pair.prompt);
    std::string line = "{\"image\":";
    if (all.size() == 1)
      append_json(line, exported::write_image(*all[0], folder, context_.media()));
    else if (all.empty())
      line += "\"\"";
    else
      line += images(pair.prompt, folder);
    line += ",\"question\":";
    append_json(line, exported::marked_text(pair.prompt.messages.front()));
    line += ",\"chosen\":";
    append_json(line, pair.chosen.text);
    line += ",\"rejected\":";
    append_json(line, pair.rejected.text);
    return line;
  }

  void write_index(const fs::path& folder, const std::string& file, const ExportNotes& notes,
                   std::size_t count) const {
    std::string name;
    append_json(name, notes.name);
    std::string file_name;
    append_json(file_name, file);
    if (params_.form == "llama_factory") {
      exported::TextFile info(folder / "dataset_info.json");
      info.write("{\n  " + name + ": {\n    \"file_name\": " + file_name +
                 ",\n    \"formatting\": \"sharegpt\",\n    \"ranking\": true,\n    \"columns\": "
                 "{\"messages\": \"conversations\", "
                 "\"chosen\": \"chosen\", \"rejected\": \"rejected\", \"images\": \"images\", "
                 "\"system\": \"system\"}\n  }\n}\n");
      info.close();
    } else if (params_.form == "mmpr") {
      exported::TextFile meta(folder / "meta.json");
      meta.write("{\n  " + name + ": {\"root\": \"\", \"annotation\": " + file_name +
                 ", \"data_augment\": false, \"repeat_time\": 1, \"length\": " +
                 std::to_string(count) + "}\n}\n");
      meta.close();
    }
    exported::TextFile card(folder / "README.md");
    card.write(exported::valid_utf8(notes.card));
    card.close();
  }

  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("exporters/conversations", "1.1.0", registrar) {
  registrar.add<dt2it::Exporter, dt2it::ConversationsExporter>(
      "conversations",
      "Pairs as JSON lines with a folder of images, for LLaMA-Factory, ms-swift and InternVL "
      "(MMPR).");
}
