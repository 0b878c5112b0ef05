// SPDX-License-Identifier: Apache-2.0
#include "core/weights/convert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "core/util/files.hpp"
#include "core/util/json_scan.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kRewardHead = "value_head.safetensors";
constexpr std::uint64_t kChunk = 4 << 20;  // bytes read and written at once

// Replaces `old` within [begin, end) of a text.
void replace_within(std::string& text, std::size_t begin, std::size_t end, std::string_view old,
                    std::string_view fresh) {
  for (std::size_t at = begin; (at = text.find(old, at)) != std::string::npos && at < end;
       at += fresh.size()) {
    text.replace(at, old.size(), fresh);
    end = end + fresh.size() - old.size();
  }
}

struct Span {
  std::size_t key, value, end;  // where in the text
};

// Members of the object that begins at `at`.
std::map<std::string, Span> members_of(const std::string& text, std::size_t at) {
  std::map<std::string, Span> members;
  for (const RawMember& member : raw_members(std::string_view(text).substr(at))) {
    const auto place = [&](std::string_view part) {
      return static_cast<std::size_t>(part.data() - text.data());
    };
    members[unescape_json_string(member.key)] = {place(member.key), place(member.value),
                                                 place(member.value) + member.value.size()};
  }
  return members;
}

void set_types(std::string& text, std::size_t at, std::string_view type) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto members = members_of(text, at);
    if (const auto found = members.find(key);
        found != members.end() && text[found->second.value] == '"')
      text.replace(found->second.value, found->second.end - found->second.value,
                   fmt::format("\"{}\"", type));
  }
}

// A tensor of the new checkpoint.
struct Output {
  const Weights* source = nullptr;  // null: zeros
  std::string name;
};

void produce(const Output& output, const TensorPlan& plan, const ByteSink& sink) {
  const std::int64_t rows = plan.shape.empty() ? 1 : plan.shape[0];
  const std::uint64_t bytes = StoredTensor{plan.type, plan.shape}.count() * dtype_size(plan.type);
  if (bytes == 0) return;
  const std::uint64_t row = bytes / static_cast<std::uint64_t>(rows);
  const auto step = static_cast<std::int64_t>(std::max<std::uint64_t>(1, kChunk / row));
  std::vector<std::byte> chunk(
      std::min<std::uint64_t>(bytes, static_cast<std::uint64_t>(step) * row));
  std::vector<float> wide;
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t n = std::min(step, rows - first);
    const std::size_t size = static_cast<std::size_t>(n) * row;
    if (output.source && plan.type == Dtype::f16 &&
        output.source->info(output.name).type != Dtype::f16) {
      // The only conversion that can lose a weight altogether.
      wide.resize(size / sizeof(std::uint16_t));
      output.source->read(output.name, Dtype::f32, first, n, wide.data());
      for (const float value : wide)
        if (std::isfinite(value) && std::abs(value) >= 65520)
          throw ModelError(fmt::format(
              "tensor '{}' holds {}, which float16 cannot; choose bf16 or f32", plan.name, value));
      convert(wide.data(), Dtype::f32, chunk.data(), Dtype::f16, wide.size());
    } else if (output.source) {
      output.source->read(output.name, plan.type, first, n, chunk.data());
    }
    sink(std::span(chunk).first(size));
  }
}

bool is_weights_file(const std::string& name) {
  for (const char* suffix :
       {".safetensors", ".index.json", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"})
    if (name.ends_with(suffix)) return true;
  return name == "adapter_config.json";
}

void copy_files(const fs::path& from, const fs::path& to, std::set<std::string>& copied) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name.starts_with('.') || is_weights_file(name)) continue;
    fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing);
    fs::permissions(to / name, fs::perms::owner_write, fs::perm_options::add);
    copied.insert(name);
  }
}

// ---- where the new folder goes, and what would be lost there

// The folder that is written, the one it is made in, and the one that the old one waits in.
struct Target {
  fs::path folder, partial, old;

  explicit Target(const fs::path& to) {
    folder = fs::absolute(to);
    if (folder.filename().empty()) folder = folder.parent_path();  // "to/"
    const fs::path name = folder.filename();
    folder = name == "." || name == ".." ? fs::weakly_canonical(folder)
                                         : fs::weakly_canonical(folder.parent_path()) / name;
    partial = folder.parent_path() / ("." + folder.filename().string() + ".partial");
    old = folder.parent_path() / ("." + folder.filename().string() + ".old");
  }
};

// Both without links.
bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

// Nothing that is read may be in what is written over: neither a folder nor, by a link, one of its files. The other way round
// nothing is lost: folders within a checkpoint are not read.
void check_not_read(const Target& target, const std::vector<fs::path>& sources) {
  std::vector<fs::path> replaced;
  for (const fs::path& folder : {target.folder, target.partial, target.old})
    if (fs::exists(folder)) replaced.push_back(fs::canonical(folder));
  const auto check = [&](const fs::path& read) {
    for (const fs::path& folder : replaced)
      if (lies_in(fs::canonical(read), folder))
        throw ConfigError(fmt::format("{}: cannot be written, since {} is read",
                                      target.folder.string(), read.string()));
  };
  for (const fs::path& source : sources) {
    if (source.empty() || !fs::exists(source)) continue;
    check(source);
    if (!fs::is_directory(source)) continue;
    for (const auto& entry : fs::directory_iterator(source))
      if (entry.is_regular_file()) check(entry.path());
  }
}

// Names that trainers and hubs give the files of a checkpoint: how they begin and end.
constexpr std::pair<std::string_view, std::string_view> kOfCheckpoints[] = {
    {"", ".safetensors"},
    {"", ".safetensors.index.json"},
    {"pytorch_model", ".bin"},
    {"adapter_model", ".bin"},
    {"value_head", ".bin"},
    {"training_args", ".bin"},
    {"pytorch_model", ".bin.index.json"},
    {"configuration_", ".py"},
    {"modeling_", ".py"},
    {"processing_", ".py"},
    {"image_processing_", ".py"},
    {"video_processing_", ".py"},
    {"tokenization_", ".py"},
    {"training_", ".png"},
    {"", "_results.json"}};
constexpr std::string_view kNamesOfCheckpoints[] = {".gitattributes",
                                                    "LICENSE",
                                                    "README.md",
                                                    "adapter_config.json",
                                                    "added_tokens.json",
                                                    "chat_template.jinja",
                                                    "chat_template.json",
                                                    "config.json",
                                                    "configuration.json",
                                                    "generation_config.json",
                                                    "merges.txt",
                                                    "preprocessor_config.json",
                                                    "processor_config.json",
                                                    "special_tokens_map.json",
                                                    "tokenizer.json",
                                                    "tokenizer.model",
                                                    "tokenizer_config.json",
                                                    "trainer_log.jsonl",
                                                    "trainer_state.json",
                                                    "training.json",
                                                    "training_args.yaml",
                                                    "video_preprocessor_config.json",
                                                    "vocab.json",
                                                    "vocab.txt"};

bool of_checkpoint(std::string_view name) {
  for (const auto& [begin, end] : kOfCheckpoints)
    if (name.size() >= begin.size() + end.size() && name.starts_with(begin) && name.ends_with(end))
      return true;
  return std::ranges::find(kNamesOfCheckpoints, name) != std::end(kNamesOfCheckpoints);
}

bool same_bytes(const fs::path& a, const fs::path& b) {
  if (fs::file_size(a) != fs::file_size(b)) return false;
  std::ifstream first(a, std::ios::binary), second(b, std::ios::binary);
  std::vector<char> one(1 << 16), other(one.size());
  for (;;) {
    first.read(one.data(), static_cast<std::streamsize>(one.size()));
    second.read(other.data(), static_cast<std::streamsize>(other.size()));
    if (first.gcount() != second.gcount() || first.bad() || second.bad()) return false;
    if (first.gcount() == 0) return true;
    if (!std::equal(one.begin(), one.begin() + first.gcount(), other.begin())) return false;
  }
}

// What is in a folder beside a checkpoint, and so must not be removed with it; empty: nothing is. Files that a source has too are
// no loss: conversions bring them along whatever they are called.
std::string beside_checkpoint(const fs::path& folder, const std::vector<fs::path>& sources) {
  bool checkpoint = false;
  std::string other;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && of_checkpoint(name)) {
      checkpoint |= name == "adapter_config.json" || name.ends_with(".safetensors") ||
                    (name.starts_with("pytorch_model") && name.ends_with(".bin"));
      continue;
    }
    const bool held =
        entry.is_regular_file() && std::ranges::any_of(sources, [&](const fs::path& source) {
          return !source.empty() && fs::is_regular_file(source / name) &&
                 same_bytes(source / name, entry.path());
        });
    if (!held && (other.empty() || name < other)) other = name;
  }
  if (!other.empty())
    return fmt::format("'{}' is in it, which is {} of a checkpoint", other,
                       fs::is_directory(folder / other) ? "no part" : "no file");
  return checkpoint ? "" : "there are no weights in it";
}

void check_replaceable(const fs::path& folder, const std::vector<fs::path>& sources) {
  if (!fs::exists(folder) || fs::is_empty(folder)) return;
  if (const std::string other = beside_checkpoint(folder, sources); !other.empty())
    throw ConfigError(
        fmt::format("{}: is not replaced, since {} (only a folder that holds a checkpoint and "
                    "nothing else is)",
                    folder.string(), other));
}

void check_target(const ConvertRequest& request, const Target& target,
                  const std::vector<fs::path>& sources) {
  if (fs::exists(fs::symlink_status(target.folder)) && !fs::is_directory(target.folder))
    throw ConfigError(fmt::format("{}: is not a folder", request.to.string()));
  check_not_read(target, sources);
  if (fs::exists(target.folder) && !fs::is_empty(target.folder) && !request.overwrite)
    throw ConfigError(fmt::format("{}: is there already, and not empty (--overwrite replaces it)",
                                  request.to.string()));
}

class Conversion {
 public:
  explicit Conversion(const ConvertRequest& request)
      : request_(request),
        target_(request.to),
        sources_{request.from, request.options.base, request.options.adapter} {}

  Converted run() {
    check_target(request_, target_, sources_);
    weights_ = std::make_shared<const Weights>(request_.from, request_.options);
    if (!weights_->adapter_folder().empty() && !request_.merge_adapter)
      throw ConfigError(fmt::format("{}: is a LoRA adapter: --merge-adapter writes the whole model",
                                    weights_->adapter_folder().string()));
    // The base that an adapter names.
    sources_.insert(sources_.end(), {weights_->model_folder(), weights_->adapter_folder()});
    check_not_read(target_, sources_);
    for (const fs::path& folder : {target_.folder, target_.old})
      check_replaceable(folder, sources_);
    result_.notes = weights_->notes();
    if (request_.head) found_ = find_reward_head(request_.from, weights_);
    plan_body();
    if (found_) plan_head();

    // Beside the target, and renamed when it is whole.
    fs::remove_all(target_.partial);
    fs::create_directories(target_.partial);
    try {
      write();
      put_in_place();
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(target_.partial, ignored);
      throw;
    }
    return std::move(result_);
  }

 private:
  void plan(std::vector<TensorPlan>& plans, const std::string& name, Weights::Info info,
            Output output) {
    plans.push_back({name, info.type, std::move(info.shape)});
    outputs_[name] = std::move(output);
  }

  void plan_body() {
    const std::vector<std::string> head = found_ ? found_->names() : std::vector<std::string>();
    for (const std::string& name : weights_->names()) {
      if (found_ && found_->source == weights_ &&
          std::find(head.begin(), head.end(), name) != head.end())
        continue;
      if (name == "lm_head.weight" && weights_->tied())
        continue;  // the embeddings are there already
      Weights::Info info = weights_->info(name);
      if (!readable(info.type))
        weights_->read(name, Dtype::f32, 0, 0, nullptr);  // says what is wrong with it
      if (request_.type && floating(info.type) && is_body_key(name)) info.type = *request_.type;
      plan(body_, name, std::move(info), {weights_.get(), name});
    }
  }

  void plan_head() {
    const HeadWeights values = found_->read();
    const HeadNames names = head_names(*request_.head, found_->linear(), values.bias);
    if (!names.note.empty()) result_.notes.push_back(names.note);
    if (found_->normalised)
      result_.notes.push_back(
          "rewards are normalised with mean and std of config.json in OpenRLHF only; other "
          "programs give the raw ones");
    auto& plans = *request_.head == HeadLayout::llama_factory ? head_file_ : body_;
    const auto add = [&](const std::string& stored, const std::string& name) {
      if (stored.empty() || name.empty()) return;
      if (outputs_.contains(name))
        throw ModelError(
            fmt::format("{}: has another tensor '{}' already", request_.from.string(), name));
      plan(plans, name, found_->source->info(stored), {found_->source.get(), stored});
    };
    add(found_->dense, names.dense);
    add(found_->dense_bias, names.dense_bias);
    add(found_->weight, names.weight);
    plans.back().shape = {1, static_cast<std::int64_t>(values.width())};
    add(found_->bias, names.bias);
    if (*request_.head == HeadLayout::llama_factory &&
        found_->bias.empty())  // its layer has one, which would stay random
      plan(plans, names.bias, {plans.back().type, {1}}, {});
  }

  void write() {
    const ByteSource source = [&](const TensorPlan& plan, const ByteSink& sink) {
      produce(outputs_.at(plan.name), plan, sink);
    };
    std::map<std::string, std::string> metadata = weights_->metadata();
    metadata.try_emplace("format", "pt");  // transformers refuses files without it
    result_.written =
        write_weights(target_.partial, body_, {request_.max_shard_bytes, metadata}, source);
    const fs::path old_head = head_folder() / kRewardHead;
    if (!head_file_.empty())
      write_weights_file(target_.partial / kRewardHead, head_file_, {{"format", "pt"}}, source);
    else if (!request_.head && fs::exists(old_head))
      fs::copy_file(old_head, target_.partial / kRewardHead);
    result_.tensors = body_.size() + head_file_.size();

    std::set<std::string> copied;
    copy_files(weights_->model_folder(), target_.partial, copied);
    if (!weights_->adapter_folder().empty())
      copy_files(weights_->adapter_folder(), target_.partial,
                 copied);  // its tokenizer was trained with it
    const fs::path config = weights_->model_folder() / "config.json";
    if (fs::exists(config)) {
      write_file_atomically(target_.partial / "config.json",
                            converted_config(read_file(config), request_.head, request_.type));
      copied.erase("config.json");
    }
    result_.copied.assign(copied.begin(), copied.end());
  }

  // Where a value_head.safetensors that stays as it is would be.
  fs::path head_folder() const {
    const fs::path& adapter = weights_->adapter_folder();
    return !adapter.empty() && fs::exists(adapter / kRewardHead) ? adapter
                                                                 : weights_->model_folder();
  }

  void put_in_place() {
    fsync_tree(target_.partial);
    if (fs::exists(target_.folder)) {
      check_replaceable(target_.folder, sources_);  // it took a while until here
      fs::remove_all(target_.old);
      fs::rename(target_.folder, target_.old);
    }
    rename_into_place(target_.partial, target_.folder);
    fs::remove_all(target_.old);
  }

  const ConvertRequest& request_;
  const Target target_;
  std::vector<fs::path> sources_;  // what is read
  Converted result_;
  std::shared_ptr<const Weights> weights_;
  std::optional<FoundHead> found_;
  std::vector<TensorPlan> body_, head_file_;
  std::map<std::string, Output> outputs_;
};

}  // namespace

Converted convert_checkpoint(const ConvertRequest& request) { return Conversion(request).run(); }

std::string converted_config(const std::string& original, std::optional<HeadLayout> head,
                             std::optional<Dtype> type) {
  constexpr std::string_view kGenerates = "ForConditionalGeneration\"",
                             kClassifies = "ForSequenceClassification\"";
  std::string text = original;
  const std::size_t begin = text.find('{');
  if (begin == std::string::npos) return text;
  if (head) {
    const bool score = *head == HeadLayout::score;
    auto members = members_of(text, begin);
    // num_labels stands behind architectures, on a line like its own.
    if (const auto labels = members.find("num_labels"); labels != members.end() && !score) {
      const std::size_t comma = text.rfind(',', labels->second.key);
      if (comma != std::string::npos && comma > begin)
        text.erase(comma, labels->second.end - comma);
    } else if (labels != members.end()) {
      text.replace(labels->second.value, labels->second.end - labels->second.value, "1");
    } else if (const auto found = members.find("architectures"); score && found != members.end()) {
      const std::size_t line = text.find_last_not_of(" \t\r\n", found->second.key - 1) + 1;
      const std::string space = text.substr(line, found->second.key - line);
      text.insert(found->second.end, fmt::format(",{}\"num_labels\": 1", space));
    }
    members = members_of(text, begin);
    if (const auto found = members.find("architectures"); found != members.end())
      replace_within(text, found->second.value, found->second.end, score ? kGenerates : kClassifies,
                     score ? kClassifies : kGenerates);
  }
  if (type) {
    const std::string_view name = *type == Dtype::bf16  ? "bfloat16"
                                  : *type == Dtype::f16 ? "float16"
                                  : *type == Dtype::f64 ? "float64"
                                                        : "float32";
    set_types(text, begin, name);
    for (const char* part : {"text_config", "vision_config"}) {
      const auto members = members_of(text, begin);
      if (const auto found = members.find(part);
          found != members.end() && text[found->second.value] == '{')
        set_types(text, found->second.value, name);
    }
  }
  return text;
}

}  // namespace dt2it
