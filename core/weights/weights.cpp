// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weights.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::string_view kHead = "lm_head.weight";

std::string no_weights(const fs::path& folder) {
  if (!fs::is_directory(folder)) return fmt::format("{}: no such folder", folder.string());
  for (const char* pickled :
       {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"})
    if (fs::exists(folder / pickled))
      return fmt::format(
          "{0}: has pickled weights only ({1}), which are not read, for they can run code; convert "
          "them once: python -c "
          "\"from transformers import AutoModelForImageTextToText as M; M.from_pretrained('{0}', "
          "dtype='auto').save_pretrained('NEW_FOLDER')\"",
          folder.string(), pickled);
  return fmt::format("{}: has neither {} nor {}", folder.string(), kWhole, kIndex);
}

// How many letters must be changed to turn one text into another.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row.back();
}

}  // namespace

bool Weights::are_in(const fs::path& folder) {
  return fs::exists(folder / kWhole) || fs::exists(folder / kIndex) ||
         LoraAdapter::is_adapter(folder);
}

Weights::Weights(const fs::path& folder, const WeightsOptions& options)
    : folder_(folder), model_folder_(folder) {
  const bool whole = fs::exists(folder / kWhole) || fs::exists(folder / kIndex);
  if (!options.adapter.empty()) {
    adapter_folder_ = options.adapter;
  } else if (!whole && LoraAdapter::is_adapter(folder)) {
    adapter_folder_ = folder;
    model_folder_ = options.base;
  }
  if (!adapter_folder_.empty()) adapter_ = std::make_unique<LoraAdapter>(adapter_folder_);
  if (model_folder_.empty()) {
    for (const fs::path& base : {fs::path(adapter_->base()), adapter_folder_ / adapter_->base()})
      if (!adapter_->base().empty() && fs::is_directory(base)) model_folder_ = base;
    if (model_folder_.empty())
      throw ModelError(
          fmt::format("{}: is a LoRA adapter of '{}', which is no folder here; give the folder of "
                      "its base model (dt2it convert: --base DIR)",
                      folder.string(), adapter_->base()));
  }
  read_config(options);
  open_folder();
  if (adapter_) merge_adapter();
  tie();
}

Weights Weights::of_file(const fs::path& file) {
  Weights weights;
  weights.folder_ = file;
  weights.add_file(std::make_shared<WeightsFile>(file));
  return weights;
}

void Weights::read_config(const WeightsOptions& options) {
  const fs::path file = model_folder_ / "config.json";
  if (fs::exists(file)) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    if (const auto error = parser.parse(read_file(file)).get(root))
      throw ModelError(
          fmt::format("{}: is not JSON: {}", file.string(), simdjson::error_message(error)));
    std::string_view type;
    if (!root["model_type"].get(type)) layout_ = key_layout_of(type);
    if (root["tie_word_embeddings"].get(tied_) &&
        root["text_config"]["tie_word_embeddings"].get(tied_))
      tied_ = false;
  }
  layout_ = options.layout.value_or(layout_);
}

void Weights::open_folder() {
  if (fs::exists(model_folder_ / kWhole))
    return add_file(std::make_shared<WeightsFile>(model_folder_ / kWhole));
  const fs::path index = model_folder_ / kIndex;
  if (!fs::exists(index)) throw ModelError(no_weights(model_folder_));
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  simdjson::dom::object map;
  if (parser.parse(read_file(index)).get(root) || root["weight_map"].get(map))
    throw ModelError(fmt::format("{}: has no weight_map", index.string()));
  std::map<std::string, std::string> where;
  std::set<std::string> files;
  for (const auto [key, value] : map) {
    std::string_view file;
    if (value.get(file) || file.empty() || file == "." || file == ".." ||
        file.find_first_of({"/\0", 2}) != std::string_view::npos)
      throw ModelError(
          fmt::format("{}: '{}' is not in a file of this folder", index.string(), shown_name(key)));
    if (!where.emplace(key, file).second)
      throw ModelError(
          fmt::format("{}: tensor '{}' is listed twice", index.string(), shown_name(key)));
    files.emplace(file);
  }
  if (files.empty()) throw ModelError(fmt::format("{}: lists no tensors", index.string()));
  std::vector<std::string> absent;
  for (const std::string& file : files)
    if (!fs::exists(model_folder_ / file)) absent.push_back(file);
  if (!absent.empty())
    throw ModelError(fmt::format(
        "{}: {} of the {} files that {} lists are not there, e.g. {} (download incomplete?)",
        model_folder_.string(), absent.size(), files.size(), kIndex, absent.front()));
  std::map<std::string, std::shared_ptr<const WeightsFile>> opened;
  for (const std::string& file : files)
    opened[file] = std::make_shared<WeightsFile>(model_folder_ / file);
  for (const auto& [name, file] : where)
    if (!opened[file]->find(name))
      throw ModelError(
          fmt::format("{}: tensor '{}' is not in {}", index.string(), shown_name(name), file));
  for (const auto& [name, file] : opened) add_file(file);
}

void Weights::add_file(std::shared_ptr<const WeightsFile> file) {
  std::vector<std::pair<std::uint64_t, const std::string*>> order;
  for (const auto& [name, stored] : file->header().tensors) order.emplace_back(stored.begin, &name);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [begin, stored_name] : order) {
    const std::string name = canonical_key(layout_, *stored_name);
    const auto [at, fresh] = items_.emplace(name, Item{file.get(), file->find(*stored_name)});
    if (!fresh)
      throw ModelError(fmt::format("{}: tensor '{}' is there twice, here as '{}', and in {}",
                                   file->path().string(), name, shown_name(*stored_name),
                                   at->second.file->path().filename().string()));
    names_.push_back(name);
  }
  files_.push_back(std::move(file));
}

void Weights::merge_adapter() {
  adapted_ = adapter_->names(layout_);
  const auto refuse = [&](const std::string& name, const std::string& what) {
    throw ModelError(
        fmt::format("{}: '{}' {}", adapter_->file()->path().string(), shown_name(name), what));
  };
  for (const auto& [name, pair] : adapted_.pairs) {
    const auto found = items_.find(name);
    if (found == items_.end())
      refuse(name,
             fmt::format("is adapted, but not in {}{}", model_folder_.string(), nearest(name)));
    Item& item = found->second;
    const std::vector<std::int64_t> wanted = {pair.b->shape[0], pair.a->shape[1]};
    if (item.stored->shape != wanted || !floating(item.stored->type))
      refuse(name, fmt::format("adapts a weight {}, the base has {} of {}", shown_shape(wanted),
                               shown_shape(item.stored->shape), dtype_name(item.stored->type)));
    item.pair = &pair;
  }
  for (const auto& [name, stored] : adapted_.replaced) {
    if (adapted_.pairs.contains(name)) refuse(name, "is both adapted and replaced");
    const auto [item, fresh] = items_.try_emplace(name);
    item->second = Item{adapter_->file().get(), stored, nullptr, true};
    if (fresh) names_.push_back(name);
  }
  notes_.push_back(fmt::format("the LoRA adapter {} is merged into {} weights of {}",
                               adapter_folder_.string(), adapted_.pairs.size(),
                               model_folder_.string()));
}

void Weights::tie() {
  if (!tied_) return;
  for (const char* name : {"model.language_model.embed_tokens.weight", "model.embed_tokens.weight"})
    if (items_.contains(name)) embedding_ = name;
  if (embedding_.empty() || items_.find(kHead) == items_.end()) return;
  notes_.push_back(
      fmt::format("{} has {} although config.json ties it to the embeddings, which are used",
                  model_folder_.string(), kHead));
}

const Weights::Item* Weights::find(std::string_view name) const {
  const auto found =
      items_.find(name == kHead && !embedding_.empty() ? std::string_view(embedding_) : name);
  return found == items_.end() ? nullptr : &found->second;
}

const Weights::Item& Weights::at(std::string_view name) const {
  if (const Item* item = find(name)) return *item;
  throw ModelError(
      fmt::format("{}: has no tensor '{}'{}", folder_.string(), shown_name(name), nearest(name)));
}

std::string Weights::nearest(std::string_view name) const {
  std::vector<std::pair<std::size_t, std::string_view>> all;
  for (const std::string& held : names_) all.emplace_back(distance(name, held), held);
  std::sort(all.begin(), all.end());
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, all.size()); ++i)
    shown.push_back(fmt::format("'{}'", shown_name(all[i].second)));
  return shown.empty()
             ? " (there are none)"
             : fmt::format(" (the nearest of {} are {})", all.size(), fmt::join(shown, ", "));
}

Weights::Info Weights::info(std::string_view name) const {
  const Item& item = at(name);
  return {item.stored->type, item.stored->shape};
}

bool Weights::from_adapter(std::string_view name) const { return at(name).replaced; }

std::shared_ptr<std::byte> Weights::view(std::string_view name) const {
  const Item& item = at(name);
  if (item.pair || !item.file->aligned(*item.stored) || !readable(item.stored->type))
    return nullptr;
  return item.file->view(*item.stored);
}

void Weights::read(std::string_view name, Dtype type, std::int64_t first, std::int64_t rows,
                   void* to) const {
  const Item& item = at(name);
  const StoredTensor& stored = *item.stored;
  if (!convertible(stored.type, type))
    throw ModelError(fmt::format(
        "{}: tensor '{}' is stored as {}, which cannot be read as {}{}", item.file->path().string(),
        shown_name(name), dtype_name(stored.type), dtype_name(type),
        readable(stored.type)
            ? ""
            : " (quantised weights are not supported: use a checkpoint in BF16, F16 or F32)"));
  const std::int64_t all = stored.shape.empty() ? 1 : stored.shape[0];
  if (first < 0 || rows < 0 || rows > all || first > all - rows)
    throw ModelError(fmt::format("{}: rows {} to {} of tensor '{}' are asked for, it has {}",
                                 item.file->path().string(), first, first + rows, shown_name(name),
                                 all));
  const std::uint64_t width = all == 0 ? 0 : stored.count() / static_cast<std::uint64_t>(all);
  const std::size_t from_size = dtype_size(stored.type), to_size = dtype_size(type);
  if (stored.type == type && !item.pair) {
    item.file->read(stored, static_cast<std::uint64_t>(first) * width * from_size, to,
                    static_cast<std::uint64_t>(rows) * width * from_size);
    return;
  }
  // Through a block that stays in the processor's cache; whole rows of it where the adapter is
  // added.
  constexpr std::uint64_t kBlock = 1 << 16;
  const std::uint64_t total = static_cast<std::uint64_t>(rows) * width;
  const std::uint64_t step =
      item.pair
          ? std::max<std::uint64_t>(1, 16 * kBlock / std::max<std::uint64_t>(1, width)) * width
          : kBlock;
  std::vector<char> raw(std::min(step, total) * from_size);
  std::vector<float> merged(item.pair ? std::min(step, total) : 0);
  for (std::uint64_t done = 0; done < total; done += step) {
    const std::uint64_t n = std::min(step, total - done);
    char* out = static_cast<char*>(to) + done * to_size;
    item.file->read(stored, (static_cast<std::uint64_t>(first) * width + done) * from_size,
                    raw.data(), n * from_size);
    if (!item.pair) {
      convert(raw.data(), stored.type, out, type, n);
      continue;
    }
    convert(raw.data(), stored.type, merged.data(), Dtype::f32, n);
    adapter_->add(*item.pair, first + static_cast<std::int64_t>(done / width),
                  static_cast<std::int64_t>(n / width), merged.data());
    convert(merged.data(), Dtype::f32, out, type, n);
  }
}

void Weights::require(std::span<const std::string> names) const {
  std::vector<std::string> missing;
  for (const std::string& name : names)
    if (!contains(name)) missing.push_back(name);
  if (missing.empty()) return;
  std::vector<std::string> shown(
      missing.begin(),
      missing.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(3, missing.size())));
  throw ModelError(fmt::format("{}: misses {} of {} tensors: '{}'{}; for '{}'{}", folder_.string(),
                               missing.size(), names.size(), fmt::join(shown, "', '"),
                               missing.size() > shown.size() ? ", ..." : "", missing[0],
                               nearest(missing[0])));
}

std::vector<std::string> Weights::unused(std::span<const std::string> names) const {
  std::set<std::string_view> used(names.begin(), names.end());
  if (!embedding_.empty()) {
    used.insert(kHead);
    if (std::find(names.begin(), names.end(), kHead) != names.end()) used.insert(embedding_);
  }
  std::vector<std::string> unused;
  for (const std::string& name : names_)
    if (!used.contains(name)) unused.push_back(name);
  return unused;
}

}  // namespace dt2it
