// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/data_writer.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <fstream>
#include <set>
#include <string_view>

#include "dt2it/error.hpp"
#include "plugins/trainers/llama_factory/files.hpp"

namespace dt2it::llama_factory {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// LLaMA-Factory counts these anywhere in a conversation and stops when there are more than media.
constexpr std::array<std::string_view, 3> kPlaceholders = {"<image>", "<video>", "<audio>"};

class Writer {
 public:
  Writer(MediaStore& media, const fs::path& folder, bool ranking)
      : media_(media), folder_(folder), ranking_(ranking) {}

  // Empty: written. Else why the pair is left out.
  std::string write(const PreferencePair& pair, std::ostream& out) {
    images_ = {};
    videos_ = {};
    if (pair.rejected_prompt && ranking_)
      return "prompts of their own for chosen and rejected, which its format does not have";
    json::array turns;
    if (const std::string problem = add_turns(pair.prompt, turns); !problem.empty()) return problem;
    for (const Response* response : {&pair.chosen, &pair.rejected})
      if ((ranking_ || response == &pair.chosen) && has_placeholder(response->text))
        return "a text that contains <image>, <video> or <audio>";
    json::object record;
    if (ranking_) {
      record["conversations"] = std::move(turns);
      record["chosen"] = turn("gpt", pair.chosen.text);
      record["rejected"] = turn("gpt", pair.rejected.text);
    } else {
      turns.push_back(turn("gpt", pair.chosen.text));
      record["conversations"] = std::move(turns);
    }
    record["images"] = std::move(images_);
    record["videos"] = std::move(videos_);
    out << json::serialize(record) << '\n';
    return {};
  }

 private:
  static json::object turn(std::string_view from, std::string_view text) {
    return {{"from", from}, {"value", text}};
  }

  static bool has_placeholder(std::string_view text) {
    for (const std::string_view placeholder : kPlaceholders)
      if (text.find(placeholder) != std::string_view::npos) return true;
    return false;
  }

  std::string add_turns(const Prompt& prompt, json::array& turns) {
    std::size_t spoken = 0;
    for (const Message& message : prompt.messages) {
      std::string text;
      for (const Part& part : message.content) {
        if (part.kind == Part::Kind::text) {
          if (has_placeholder(part.text)) return "a text that contains <image>, <video> or <audio>";
          text += part.text;
          continue;
        }
        if (!part.media.present()) return "a missing image or video";
        if (!part.media.frames.empty()) return "a video given as frames";
        const bool video = part.kind == Part::Kind::video;
        text += video ? "<video>" : "<image>";
        (video ? videos_ : images_).push_back(json::string(stored(part.media)));
      }
      if (message.role == Message::Role::system) {
        if (&message != &prompt.messages.front()) return "a system message that is not the first";
        turns.push_back(turn("system", text));
        continue;
      }
      const bool user = message.role == Message::Role::user;
      if (user != (spoken % 2 == 0))
        return "turns that do not alternate between user and assistant";
      turns.push_back(turn(user ? "human" : "gpt", text));
      ++spoken;
    }
    return spoken % 2 == 1 ? "" : "a last message that is not the user's";
  }

  // The file's path below the data folder, written on first use.
  std::string stored(const Media& media) {
    const std::size_t slash = media.mime.find('/');
    const std::string type = slash == std::string::npos ? "bin" : media.mime.substr(slash + 1);
    std::string name = fmt::format("media/{}.{}", media.id, type);
    if (written_.insert(media.id).second) {
      fs::create_directories(folder_ / "media");
      const Bytes bytes = media_.bytes(media);
      write_text(folder_ / name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    return name;
  }

  MediaStore& media_;
  const fs::path folder_;
  const bool ranking_;
  std::set<std::string> written_;
  json::array images_, videos_;
};

}  // namespace

WrittenData write_data(Stream<PreferencePair>& pairs, MediaStore& media, const fs::path& folder,
                       bool ranking) {
  fs::create_directories(folder);
  const fs::path file = folder / "pairs.jsonl";
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  Writer writer(media, folder, ranking);
  WrittenData result;
  for (PreferencePair pair; pairs.next(pair); pair = {}) {
    if (const std::string problem = writer.write(pair, out); problem.empty())
      ++result.pairs;
    else
      ++result.left_out[problem];
  }
  out.close();
  if (!out) throw Error(fmt::format("{}: cannot be written", file.string()));
  if (result.pairs == 0) {
    std::string why;
    for (const auto& [reason, count] : result.left_out)
      why += fmt::format("; {} with {}", count, reason);
    throw DataError("trainers/llama_factory: there are no pairs to train on" + why);
  }
  json::object columns{{"messages", "conversations"}, {"images", "images"}, {"videos", "videos"}};
  if (ranking) {
    columns["chosen"] = "chosen";
    columns["rejected"] = "rejected";
  }
  const json::object info{{"pairs",
                           {{"file_name", "pairs.jsonl"},
                            {"formatting", "sharegpt"},
                            {"ranking", ranking},
                            {"columns", columns}}}};
  write_text(folder / "dataset_info.json", json::serialize(info) + "\n");
  return result;
}

}  // namespace dt2it::llama_factory
