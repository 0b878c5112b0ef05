// SPDX-License-Identifier: Apache-2.0
#include "core/weights/convert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

void check_target(const ConvertRequest& request) {
  if (fs::exists(request.to) && !fs::is_directory(request.to))
    throw ConfigError(fmt::format("{}: is not a folder", request.to.string()));
  for (const fs::path& source : {request.from, request.options.base, request.options.adapter})
    if (!source.empty() && fs::exists(request.to) && fs::exists(source) &&
        fs::equivalent(source, request.to))
      throw ConfigError(fmt::format("{}: is read, so it cannot be written", request.to.string()));
  if (fs::exists(request.to) && !fs::is_empty(request.to) && !request.overwrite)
    throw ConfigError(fmt::format("{}: is there already, and not empty (--overwrite replaces it)",
                                  request.to.string()));
}

class Conversion {
 public:
  explicit Conversion(const ConvertRequest& request) : request_(request) {}

  Converted run() {
    weights_ = std::make_shared<const Weights>(request_.from, request_.options);
    if (!weights_->adapter_folder().empty() && !request_.merge_adapter)
      throw ConfigError(fmt::format("{}: is a LoRA adapter: --merge-adapter writes the whole model",
                                    weights_->adapter_folder().string()));
    result_.notes = weights_->notes();
    if (request_.head) found_ = find_reward_head(request_.from, weights_);
    plan_body();
    if (found_) plan_head();

    // Beside the target, and renamed when it is whole.
    target_ = fs::absolute(request_.to).lexically_normal();
    if (target_.filename().empty()) target_ = target_.parent_path();
    partial_ = target_.parent_path() / ("." + target_.filename().string() + ".partial");
    fs::remove_all(partial_);
    fs::create_directories(partial_);
    try {
      write();
      put_in_place();
    } catch (...) {
      std::error_code ignored;
      fs::remove_all(partial_, ignored);
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
    result_.written = write_weights(partial_, body_, {request_.max_shard_bytes, metadata}, source);
    const fs::path old_head = head_folder() / kRewardHead;
    if (!head_file_.empty())
      write_weights_file(partial_ / kRewardHead, head_file_, {{"format", "pt"}}, source);
    else if (!request_.head && fs::exists(old_head))
      fs::copy_file(old_head, partial_ / kRewardHead);
    result_.tensors = body_.size() + head_file_.size();

    std::set<std::string> copied;
    copy_files(weights_->model_folder(), partial_, copied);
    if (!weights_->adapter_folder().empty())
      copy_files(weights_->adapter_folder(), partial_,
                 copied);  // its tokenizer was trained with it
    const fs::path config = weights_->model_folder() / "config.json";
    if (fs::exists(config)) {
      write_file_atomically(partial_ / "config.json",
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
    fsync_tree(partial_);
    const fs::path old = partial_.parent_path() / ("." + target_.filename().string() + ".old");
    if (fs::exists(target_)) {
      fs::remove_all(old);
      fs::rename(target_, old);
    }
    rename_into_place(partial_, target_);
    fs::remove_all(old);
  }

  const ConvertRequest& request_;
  Converted result_;
  std::shared_ptr<const Weights> weights_;
  std::optional<FoundHead> found_;
  std::vector<TensorPlan> body_, head_file_;
  std::map<std::string, Output> outputs_;
  fs::path target_, partial_;
};

}  // namespace

Converted convert_checkpoint(const ConvertRequest& request) {
  check_target(request);
  return Conversion(request).run();
}

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
