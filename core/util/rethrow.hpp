// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "dt2it/error.hpp"

namespace dt2it {

// LibTorch's exceptions carry a C++ backtrace after the first line, which is no use to users.
inline std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

// Throws the error in flight again, of the same kind, with `prefix` in front; what is no Error becomes a Foreign.
template <class Foreign>
[[noreturn]] void rethrow_with(const std::string& prefix) {
  try {
    throw;
  } catch (const ConfigError& error) {
    throw ConfigError(prefix + error.what());
  } catch (const PluginError& error) {
    throw PluginError(prefix + error.what());
  } catch (const DataError& error) {
    throw DataError(prefix + error.what());
  } catch (const ModelError& error) {
    throw ModelError(prefix + error.what());
  } catch (const Error& error) {
    throw Error(prefix + error.what());
  } catch (const std::exception& error) {
    throw Foreign(prefix + first_line(error.what()));
  } catch (...) {
    throw Foreign(prefix + "something was thrown that is no std::exception");
  }
}

}  // namespace dt2it
