// SPDX-License-Identifier: Apache-2.0
#include "core/nn/visual_cache.hpp"

#include <exception>
#include <utility>

namespace dt2it::nn {

std::shared_ptr<VisualCache> VisualCache::shared(const std::string& rules, std::size_t bytes) {
  static std::mutex mutex;
  static std::unordered_map<std::string, std::weak_ptr<VisualCache>> caches;
  const std::lock_guard lock(mutex);
  std::weak_ptr<VisualCache>& known = caches[rules];
  std::shared_ptr<VisualCache> cache = known.lock();
  if (!cache) known = cache = std::make_shared<VisualCache>(bytes);
  return cache;
}

std::shared_ptr<const Visual> VisualCache::get(const std::string& key,
                                               const std::function<Visual()>& make) {
  std::promise<std::shared_ptr<const Visual>> promise;
  {
    std::unique_lock lock(mutex_);
    if (const auto found = entries_.find(key); found != entries_.end()) {
      ages_.splice(ages_.begin(), ages_, found->second.age);
      const auto visual = found->second.visual;
      lock.unlock();
      return visual.get();
    }
    ages_.push_front(key);
    entries_[key] = {promise.get_future().share(), ages_.begin(), 0};
  }
  const auto forget = [&] {
    const auto entry = entries_.find(key);
    bytes_ -= entry->second.bytes;
    ages_.erase(entry->second.age);
    entries_.erase(entry);
  };
  std::shared_ptr<const Visual> made;
  try {
    made = std::make_shared<const Visual>(make());
  } catch (...) {
    promise.set_exception(std::current_exception());
    std::lock_guard lock(mutex_);
    forget();
    throw;
  }
  promise.set_value(made);
  std::lock_guard lock(mutex_);
  if (made->status != Status::ok) {
    forget();
    return made;
  }
  entries_[key].bytes = made->pixels->rgb.size() + 256;
  bytes_ += entries_[key].bytes;
  for (auto age = ages_.end(); bytes_ > budget_ && age != ages_.begin();) {
    const auto oldest = entries_.find(*--age);
    if (oldest->second.bytes == 0 || oldest->first == key)
      continue;  // being made; or the one just asked for
    bytes_ -= oldest->second.bytes;
    entries_.erase(oldest);
    age = ages_.erase(age);
  }
  return made;
}

}  // namespace dt2it::nn
