-- GET of TARGET again and again; ENCODING asks for a compressed answer.
wrk.method = "GET"
wrk.path = os.getenv("TARGET")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["Accept"] = "application/json"
wrk.headers["User-Agent"] = "bench/1.0"
local encoding = os.getenv("ENCODING")
if encoding then
  wrk.headers["Accept-Encoding"] = encoding
end
