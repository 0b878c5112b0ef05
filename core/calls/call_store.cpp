// SPDX-License-Identifier: Apache-2.0
#include "core/calls/call_store.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sqlite3.h>

#include <array>
#include <chrono>
#include <cstring>

#include "core/data/names.hpp"
#include "core/data/records.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr int kSchema = 1;

// Requests and answers stand in a table of their own, so that listing and counting read little.
constexpr const char* kTables = R"(
  CREATE TABLE models(id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, model TEXT NOT NULL);
  CREATE TABLE calls(
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, model INTEGER NOT NULL, purpose TEXT NOT NULL,
    status TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL, served TEXT NOT NULL,
    detail TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usage_known INTEGER NOT NULL, cost REAL NOT NULL,
    seconds REAL NOT NULL, time INTEGER NOT NULL);
  CREATE TABLE wire(id INTEGER PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL,
    request_id TEXT NOT NULL);
  CREATE TABLE askers(id INTEGER PRIMARY KEY, stage TEXT NOT NULL, mllm TEXT NOT NULL,
    endpoint TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL,
    UNIQUE(stage, mllm, endpoint, model, purpose));
  CREATE TABLE uses(asker INTEGER NOT NULL, key BLOB NOT NULL, status TEXT NOT NULL,
    paid INTEGER NOT NULL, PRIMARY KEY(asker, key)) WITHOUT ROWID;
  CREATE TABLE batches(id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, model TEXT NOT NULL,
    file_id TEXT NOT NULL, server_id TEXT NOT NULL, keys TEXT NOT NULL);
  CREATE TABLE waiting(key BLOB PRIMARY KEY, identity TEXT NOT NULL, model TEXT NOT NULL,
    request TEXT NOT NULL, purpose TEXT NOT NULL, stage TEXT NOT NULL, mllm TEXT NOT NULL,
    endpoint TEXT NOT NULL, form INTEGER NOT NULL);
)";

constexpr const char* kFind =
    "SELECT status, text, finish_reason, served, detail, prompt_tokens, cached_tokens, "
    "completion_tokens FROM calls WHERE key = ?";
constexpr const char* kAdd =
    "INSERT OR IGNORE INTO calls(key, model, purpose, status, text, finish_reason, served, detail, "
    "prompt_tokens, cached_tokens, completion_tokens, usage_known, cost, seconds, time) "
    "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
constexpr const char* kAddWire =
    "INSERT INTO wire(id, request, answer, request_id) VALUES(?,?,?,?)";
// An answer of before this stage stays unpaid; a failure that was mended is one no more.
constexpr const char* kAddUse =
    "INSERT INTO uses(asker, key, status, paid) VALUES(?,?,?,?) "
    "ON CONFLICT DO UPDATE SET status = excluded.status, paid = max(paid, excluded.paid) "
    "WHERE status != excluded.status OR paid < excluded.paid";
constexpr const char* kLedger =
    "SELECT a.mllm, a.endpoint, a.model, a.purpose, u.status, count(*), sum(u.paid), "
    "sum(u.paid * ifnull(c.prompt_tokens, 0)), sum(u.paid * ifnull(c.cached_tokens, 0)), "
    "sum(u.paid * ifnull(c.completion_tokens, 0)), sum(u.paid * ifnull(c.cost, 0)), "
    "sum(u.paid * (1 - ifnull(c.usage_known, 1))) "
    "FROM askers a JOIN uses u ON u.asker = a.id LEFT JOIN calls c ON c.key = u.key "
    "WHERE a.stage = ? GROUP BY a.id, u.status ORDER BY a.id, u.status";
constexpr const char* kWhere =
    " FROM calls c JOIN models m ON m.id = c.model JOIN wire w ON w.id = c.id "
    "WHERE (?1 = '' OR m.model = ?1) AND (?2 = '' OR c.purpose = ?2) AND (?3 = '' OR c.status = "
    "?3) "
    "AND (?4 = '' OR lower(hex(c.key)) LIKE ?4 || '%') AND (?5 = 0 OR c.time < ?5) "
    "AND (?6 = '' OR m.identity = ?6)";

Status status_of(std::string_view name) {
  return value_named<Status>(kStatusNames, name).value_or(Status::invalid);
}

}  // namespace

namespace {

constexpr double kSecondsKnown = 0.05;  // so long what was seen of other processes holds
constexpr std::int64_t kMostKnown = std::int64_t{1}
                                    << 22;  // rows; reading more keys would take a while

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A prepared statement: finalised at the end of its scope.
class Statement {
 public:
  Statement(sqlite3* db, const std::string& sql) : db_(db) {
    if (sqlite3_prepare_v2(db, sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK) fail();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Texts must live until the next step().
  Statement& text(int at, std::string_view value) {
    sqlite3_bind_text(statement_, at, value.data() ? value.data() : "",
                      static_cast<int>(value.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& blob(int at, std::string_view value) {
    sqlite3_bind_blob(statement_, at, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& number(int at, std::int64_t value) {
    return sqlite3_bind_int64(statement_, at, value), *this;
  }
  Statement& number(int at, double value) {
    return sqlite3_bind_double(statement_, at, value), *this;
  }
  bool step() {  // true: a row
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) fail();
    return false;
  }
  void reset() { sqlite3_reset(statement_); }
  std::string_view text(int at) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, at));
    return {data ? data : "", static_cast<std::size_t>(sqlite3_column_bytes(statement_, at))};
  }
  std::int64_t integer(int at) const { return sqlite3_column_int64(statement_, at); }
  double real(int at) const { return sqlite3_column_double(statement_, at); }

 private:
  [[noreturn]] void fail() const {
    throw DataError(fmt::format("{}: the call store cannot be used: {}",
                                sqlite3_db_filename(db_, "main"), sqlite3_errmsg(db_)));
  }
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace

struct CallStore::Connection {
  sqlite3* db = nullptr;
  sqlite3_stmt* find = nullptr;
  std::unique_ptr<Statement> add, add_wire, add_use, version;  // the writer's

  ~Connection() {
    forget();
    sqlite3_finalize(find);
    sqlite3_close_v2(db);
  }
  void prepare() {
    if (!add) add = std::make_unique<Statement>(db, kAdd);
    if (!add_wire) add_wire = std::make_unique<Statement>(db, kAddWire);
    if (!add_use) add_use = std::make_unique<Statement>(db, kAddUse);
    if (!version) version = std::make_unique<Statement>(db, "PRAGMA data_version");
  }
  void forget() {
    add.reset();
    add_wire.reset();
    add_use.reset();
    version.reset();
  }
  // All that `work` writes or nothing; `undone` is called in that case.
  void transaction(const std::function<void()>& work, const std::function<void()>& undone = {}) {
    execute("BEGIN IMMEDIATE");
    try {
      work();
      execute("COMMIT");
    } catch (...) {
      if (undone) undone();
      forget();
      sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
      throw;
    }
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(
        fmt::format("{}: {}: {}", sqlite3_db_filename(db, "main"), what, sqlite3_errmsg(db)));
  }
  void execute(const char* sql) const {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
      fail("the call store cannot be used");
  }
};

namespace {

void bind(Statement& statement, const CallFilter& filter) {
  statement.text(1, filter.model).text(2, filter.purpose).text(3, filter.status);
  statement.text(4, filter.key_prefix).number(5, filter.before).text(6, filter.identity);
}

CallStore::Batch read_batch(const Statement& row) {
  CallStore::Batch batch;
  batch.id = row.integer(0);
  batch.endpoint = row.text(1);
  batch.model = row.text(2);
  batch.file_id = row.text(3);
  batch.server_id = row.text(4);
  batch.keys = row.text(5);
  return batch;
}

}  // namespace

// ---------------------------------------------------------------- what is certainly not stored

// A Bloom filter; keys are hashes, so their words are what it needs.
class CallStore::KnownKeys {
 public:
  explicit KnownKeys(std::int64_t rows) {
    std::size_t words = std::size_t{1} << 18;  // 16 bits a key up to a million, 2 MiB
    while (static_cast<std::int64_t>(words) * 8 < rows) words *= 2;
    words_ = std::vector<std::atomic<std::uint64_t>>(words);
  }
  void add(std::string_view key) {
    each_bit(key, [](std::atomic<std::uint64_t>& word, std::uint64_t bit) {
      word.fetch_or(bit, std::memory_order_relaxed);
      return true;
    });
  }
  bool may_hold(std::string_view key) {
    return each_bit(key, [](std::atomic<std::uint64_t>& word, std::uint64_t bit) {
      return (word.load(std::memory_order_relaxed) & bit) != 0;
    });
  }

 private:
  template <class Use>
  bool each_bit(std::string_view key, const Use& use) {
    for (std::size_t at = 0; at + 8 <= key.size(); at += 8) {
      std::uint64_t hash = 0;
      std::memcpy(&hash, key.data() + at, 8);
      if (!use(words_[(hash >> 6) & (words_.size() - 1)], std::uint64_t{1} << (hash & 63)))
        return false;
    }
    return true;
  }
  std::vector<std::atomic<std::uint64_t>> words_;
};

// In the writer's transaction. Keys are read once; from when another process has written they are
// known no more.
void CallStore::look_at_keys() {
  writer_->version->step();
  const std::int64_t version = writer_->version->integer(0);
  writer_->version->reset();
  if (!version_) {
    Statement most(writer_->db, "SELECT ifnull(max(id), 0) FROM calls");
    most.step();
    if (const std::int64_t rows = most.integer(0); rows <= kMostKnown) {
      known_ = std::make_unique<KnownKeys>(rows);
      Statement key(writer_->db, "SELECT key FROM calls");
      while (key.step()) known_->add(key.text(0));
    }
    version_ = version;
  }
  known_until_ = known_ && version == *version_ ? now_seconds() + kSecondsKnown : 0;
}

CallKey call_key(std::string_view identity, std::string_view request_text) {
  CallKey key(32, '\0');
  // Looked up once: by EVP_sha256() each use would do it again, under a lock.
  static EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  thread_local const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> hash(EVP_MD_CTX_new(),
                                                                             EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), kSha256, nullptr);
  EVP_DigestUpdate(hash.get(), identity.data(), identity.size());
  EVP_DigestUpdate(hash.get(), "\n", 1);  // JSON in one line holds none
  EVP_DigestUpdate(hash.get(), request_text.data(), request_text.size());
  EVP_DigestFinal_ex(hash.get(), reinterpret_cast<unsigned char*>(key.data()), nullptr);
  return key;
}

std::string hex_of(const CallKey& key) {
  std::string hex;
  for (const char c : key) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

CallKey key_of_hex(std::string_view hex) {
  if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != std::string_view::npos)
    return {};
  CallKey key;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i < hex.size(); i += 2)
    key += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  return key;
}

CallStore::CallStore(const fs::path& file) : file_(fs::absolute(file)) {
  fs::create_directories(file_.parent_path());
  writer_ = open();
  writer_->execute(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16384; PRAGMA "
      "wal_autocheckpoint=4000;");
  writer_->execute("BEGIN IMMEDIATE");  // two processes may both find it new
  Statement version(writer_->db, "PRAGMA user_version");
  version.step();
  const std::int64_t found = version.integer(0);
  version.reset();
  if (found == 0) {
    writer_->execute(kTables);
    writer_->execute(fmt::format("PRAGMA user_version={}", kSchema).c_str());
  }
  writer_->execute("COMMIT");
  if (found != 0 && found != kSchema)
    throw DataError(fmt::format("{}: a call store of version {}; this program reads version {}",
                                file_.string(), found, kSchema));
}

CallStore::~CallStore() = default;

std::unique_ptr<CallStore::Connection> CallStore::open() const {
  auto connection = std::make_unique<Connection>();
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(file_.c_str(), &connection->db, kFlags, nullptr) != SQLITE_OK)
    throw DataError(fmt::format("{}: the call store cannot be opened: {}", file_.string(),
                                connection->db ? sqlite3_errmsg(connection->db) : "no memory"));
  sqlite3_busy_timeout(connection->db, 60000);
  connection->execute("PRAGMA cache_size=-512");  // KiB; there may be as many readers as callers
  return connection;
}

std::optional<ChatReply> CallStore::find(const CallKey& key) {
  // While answers come the writer looks again and again whether the file is ours alone. A call that another process
  // answered a moment ago could as well have been under way there still.
  if (const double until = known_until_.load(std::memory_order_acquire);
      until > 0 && now_seconds() < until && !known_->may_hold(key))
    return std::nullopt;
  std::unique_ptr<Connection> reader;
  const auto release = [](std::counting_semaphore<>* places) { places->release(); };
  reading_.acquire();
  const std::unique_ptr<std::counting_semaphore<>, decltype(release)> place(&reading_, release);
  {
    std::lock_guard lock(readers_mutex_);
    if (!readers_.empty()) {
      reader = std::move(readers_.back());
      readers_.pop_back();
    }
  }
  if (!reader) reader = open();
  if (!reader->find && sqlite3_prepare_v3(reader->db, kFind, -1, SQLITE_PREPARE_PERSISTENT,
                                          &reader->find, nullptr) != SQLITE_OK)
    reader->fail("the call store cannot be read");
  std::optional<ChatReply> reply;
  sqlite3_bind_blob(reader->find, 1, key.data(), static_cast<int>(key.size()), SQLITE_STATIC);
  const int code = sqlite3_step(reader->find);
  if (code == SQLITE_ROW) {
    const auto text = [&](int at) {
      const auto* data = static_cast<const char*>(sqlite3_column_blob(reader->find, at));
      return std::string(data ? data : "",
                         static_cast<std::size_t>(sqlite3_column_bytes(reader->find, at)));
    };
    reply.emplace();
    reply->status = status_of(text(0));
    reply->text = text(1);
    reply->finish_reason = text(2);
    reply->model = text(3);
    reply->detail = text(4);
    reply->usage = {sqlite3_column_int64(reader->find, 5), sqlite3_column_int64(reader->find, 6),
                    sqlite3_column_int64(reader->find, 7)};
  } else if (code != SQLITE_DONE) {
    reader->fail("the call store cannot be read");
  }
  sqlite3_reset(reader->find);
  std::lock_guard lock(readers_mutex_);
  readers_.push_back(std::move(reader));
  return reply;
}

// In the writer's transaction.
std::int64_t CallStore::model_of(const StoredCall& call) {
  std::int64_t& model = models_[call.identity];
  if (model != 0) return model;
  Statement known(writer_->db, "INSERT OR IGNORE INTO models(identity, model) VALUES(?,?)");
  known.text(1, call.identity).text(2, call.model).step();
  Statement id(writer_->db, "SELECT id FROM models WHERE identity = ?");
  id.text(1, call.identity).step();
  return model = id.integer(0);
}

// In the writer's transaction.
std::int64_t CallStore::asker_of(const CallUse& use) {
  std::int64_t& asker = askers_[fmt::format("{}\n{}\n{}\n{}\n{}", use.stage, use.mllm, use.endpoint,
                                            use.model, use.purpose)];
  if (asker != 0) return asker;
  Statement make(
      writer_->db,
      "INSERT OR IGNORE INTO askers(stage, mllm, endpoint, model, purpose) VALUES(?,?,?,?,?)");
  make.text(1, use.stage).text(2, use.mllm).text(3, use.endpoint).text(4, use.model);
  make.text(5, use.purpose).step();
  Statement id(writer_->db,
               "SELECT id FROM askers WHERE stage = ? AND mllm = ? AND endpoint = ? AND model = ? "
               "AND purpose = ?");
  id.text(1, use.stage)
      .text(2, use.mllm)
      .text(3, use.endpoint)
      .text(4, use.model)
      .text(5, use.purpose)
      .step();
  return asker = id.integer(0);
}

void CallStore::put(const std::vector<const StoredCall*>& calls, const std::vector<CallUse>& uses) {
  std::lock_guard lock(writer_mutex_);
  sqlite3* db = writer_->db;
  writer_->transaction(
      [&] {
        writer_->prepare();
        look_at_keys();
        Statement &add = *writer_->add, &add_wire = *writer_->add_wire,
                  &add_use = *writer_->add_use;
        std::string_view identity;
        std::int64_t model = 0;
        for (const StoredCall* call : calls) {
          if (model == 0 || identity != call->identity) {
            model = model_of(*call);
            identity = call->identity;
          }
          const ChatReply& reply = call->reply;
          add.blob(1, call->key)
              .number(2, model)
              .text(3, call->purpose)
              .text(4, to_string(reply.status));
          add.text(5, reply.text)
              .text(6, reply.finish_reason)
              .text(7, reply.model)
              .text(8, reply.detail);
          add.number(9, reply.usage.prompt_tokens).number(10, reply.usage.cached_tokens);
          add.number(11, reply.usage.completion_tokens).number(12, std::int64_t{call->usage_known});
          add.number(13, call->cost).number(14, call->seconds).number(15, call->time);
          add.step();
          add.reset();
          if (sqlite3_changes(db) == 0) continue;  // another process was first
          add_wire.number(1, std::int64_t{sqlite3_last_insert_rowid(db)}).text(2, call->request);
          add_wire.text(3, call->answer).text(4, call->request_id).step();
          add_wire.reset();
        }
        const CallUse* before = nullptr;
        std::int64_t asker = 0;
        const auto same_asker = [](const CallUse& a, const CallUse& b) {
          return a.purpose == b.purpose && a.mllm == b.mllm && a.stage == b.stage &&
                 a.model == b.model && a.endpoint == b.endpoint;
        };
        for (const CallUse& use : uses) {
          if (!before || !same_asker(*before, use)) asker = asker_of(use);
          before = &use;
          add_use.number(1, asker).blob(2, use.key).text(3, to_string(use.status));
          add_use.number(4, std::int64_t{use.paid}).step();
          add_use.reset();
        }
      },
      [&] {
        askers_.clear();
        models_.clear();
      });
  if (known_)
    for (const StoredCall* call : calls) known_->add(call->key);
}

std::vector<LedgerRow> CallStore::ledger(const std::string& stage) {
  const std::unique_ptr<Connection> reader = open();
  Statement row(reader->db, kLedger);
  row.text(1, stage);
  std::vector<LedgerRow> rows;
  while (row.step()) {
    LedgerRow next{std::string(row.text(0)), std::string(row.text(1)), std::string(row.text(2)),
                   std::string(row.text(3))};
    if (rows.empty() || rows.back().mllm != next.mllm || rows.back().endpoint != next.endpoint ||
        rows.back().model != next.model || rows.back().purpose != next.purpose)
      rows.push_back(next);
    LedgerRow& sum = rows.back();
    const std::int64_t count = row.integer(5);
    sum.calls += count;
    sum.paid += row.integer(6);
    if (row.text(4) != "ok") sum.failed += count;
    sum.prompt_tokens += row.integer(7);
    sum.cached_tokens += row.integer(8);
    sum.completion_tokens += row.integer(9);
    sum.cost += row.real(10);
    sum.usage_unknown += row.integer(11);
    sum.statuses += fmt::format("{}{} {}", sum.statuses.empty() ? "" : ", ", row.text(4), count);
  }
  return rows;
}

void CallStore::each(const CallFilter& filter, const std::function<void(const StoredCall&)>& use) {
  const std::unique_ptr<Connection> reader = open();
  Statement row(
      reader->db,
      std::string(
          "SELECT c.key, m.identity, m.model, c.purpose, c.status, c.text, c.finish_reason, "
          "c.served, c.detail, c.prompt_tokens, c.cached_tokens, c.completion_tokens, "
          "c.usage_known, c.cost, c.seconds, c.time, w.request, w.answer, w.request_id") +
          kWhere +
          (filter.limit > 0 ? fmt::format(" ORDER BY c.id DESC LIMIT {}", filter.limit)
                            : " ORDER BY c.id"));
  bind(row, filter);
  StoredCall call;
  while (row.step()) {
    call.key = row.text(0);
    call.identity = row.text(1);
    call.model = row.text(2);
    call.purpose = row.text(3);
    call.reply.status = status_of(row.text(4));
    call.reply.text = row.text(5);
    call.reply.finish_reason = row.text(6);
    call.reply.model = row.text(7);
    call.reply.detail = row.text(8);
    call.reply.usage = {row.integer(9), row.integer(10), row.integer(11)};
    call.usage_known = row.integer(12) != 0;
    call.cost = row.real(13);
    call.seconds = row.real(14);
    call.time = row.integer(15);
    call.request = row.text(16);
    call.answer = row.text(17);
    call.request_id = row.text(18);
    use(call);
  }
}

std::int64_t CallStore::remove(const CallFilter& filter) {
  std::lock_guard lock(writer_mutex_);
  sqlite3* db = writer_->db;
  std::int64_t removed = 0;
  writer_->transaction([&] {
    Statement remove(db, std::string("DELETE FROM calls WHERE id IN (SELECT c.id") + kWhere + ")");
    bind(remove, filter);
    remove.step();
    removed = sqlite3_changes(db);
    Statement(db, "DELETE FROM wire WHERE id NOT IN (SELECT id FROM calls)").step();
  });
  sqlite3_exec(db, "VACUUM", nullptr, nullptr, nullptr);  // not while another process reads
  return removed;
}

std::int64_t CallStore::count() {
  const std::unique_ptr<Connection> reader = open();
  Statement row(reader->db, "SELECT count(*) FROM calls");
  row.step();
  return row.integer(0);
}

std::optional<double> CallStore::mean_answer(const std::string& model, const std::string& purpose) {
  const std::unique_ptr<Connection> reader = open();
  Statement row(
      reader->db,
      "SELECT avg(completion_tokens), count(*) FROM (SELECT c.completion_tokens FROM calls c "
      "JOIN models m ON m.id = c.model WHERE m.model = ? AND c.purpose = ? ORDER BY c.id DESC "
      "LIMIT 1000)");
  row.text(1, model).text(2, purpose).step();
  if (row.integer(1) == 0) return std::nullopt;
  return row.real(0);
}

std::int64_t CallStore::add_batch(const Batch& batch) {
  std::lock_guard lock(writer_mutex_);
  Statement add(writer_->db,
                "INSERT INTO batches(endpoint, model, file_id, server_id, keys) VALUES(?,?,?,?,?)");
  add.text(1, batch.endpoint).text(2, batch.model).text(3, batch.file_id).text(4, batch.server_id);
  add.text(5, batch.keys).step();
  return sqlite3_last_insert_rowid(writer_->db);
}

void CallStore::update_batch(const Batch& batch) {
  std::lock_guard lock(writer_mutex_);
  Statement change(writer_->db,
                   "UPDATE batches SET file_id = ?, server_id = ?, keys = ? WHERE id = ?");
  change.text(1, batch.file_id)
      .text(2, batch.server_id)
      .text(3, batch.keys)
      .number(4, batch.id)
      .step();
}

void CallStore::forget_server_id(const Batch& batch) {
  std::lock_guard lock(writer_mutex_);
  Statement change(writer_->db, "UPDATE batches SET server_id = '' WHERE id = ? AND server_id = ?");
  change.number(1, batch.id).text(2, batch.server_id).step();
}

void CallStore::end_batch(const Batch& batch, const std::vector<CallKey>& keys) {
  std::lock_guard lock(writer_mutex_);
  writer_->transaction([&] {
    Statement(writer_->db, "DELETE FROM batches WHERE id = ? AND server_id = ?")
        .number(1, batch.id)
        .text(2, batch.server_id)
        .step();
    if (sqlite3_changes(writer_->db) == 0) return;
    Statement remove(writer_->db, "DELETE FROM waiting WHERE key = ?");
    for (const CallKey& key : keys) {
      remove.blob(1, key).step();
      remove.reset();
    }
  });
}

std::vector<CallStore::Batch> CallStore::batches(const std::string& endpoint,
                                                 const std::string& model) {
  std::lock_guard lock(writer_mutex_);
  Statement row(writer_->db,
                "SELECT id, endpoint, model, file_id, server_id, keys FROM batches "
                "WHERE endpoint = ? AND model = ? ORDER BY id");
  row.text(1, endpoint).text(2, model);
  std::vector<Batch> found;
  while (row.step()) found.push_back(read_batch(row));
  return found;
}

void CallStore::add_waiting(const std::vector<Waiting>& calls) {
  if (calls.empty()) return;
  std::lock_guard lock(writer_mutex_);
  writer_->transaction([&] {
    Statement add(writer_->db,
                  "INSERT OR REPLACE INTO waiting(key, identity, model, request, purpose, stage, "
                  "mllm, endpoint, form) "
                  "VALUES(?,?,?,?,?,?,?,?,?)");
    for (const auto& [call, use, form] : calls) {
      add.blob(1, call.key).text(2, call.identity).text(3, call.model).text(4, call.request);
      add.text(5, call.purpose).text(6, use.stage).text(7, use.mllm).text(8, use.endpoint);
      add.number(9, std::int64_t{form}).step();
      add.reset();
    }
  });
}

std::optional<CallStore::Waiting> CallStore::waiting(const CallKey& key) {
  std::lock_guard lock(writer_mutex_);
  Statement row(writer_->db,
                "SELECT identity, model, request, purpose, stage, mllm, endpoint, form FROM "
                "waiting WHERE key = ?");
  row.blob(1, key);
  if (!row.step()) return std::nullopt;
  Waiting waiting;
  StoredCall& call = waiting.call;
  call.key = key;
  call.identity = row.text(0);
  call.model = row.text(1);
  call.request = row.text(2);
  call.purpose = row.text(3);
  waiting.use = {std::string(row.text(4)),
                 std::string(row.text(5)),
                 std::string(row.text(6)),
                 call.model,
                 call.purpose,
                 key,
                 Status::ok,
                 true};
  waiting.form = static_cast<std::uint32_t>(row.integer(7));
  return waiting;
}

}  // namespace dt2it
