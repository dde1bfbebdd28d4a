-- POSTs pods such as a Deployment makes them into NAMESPACE; after COUNT of them, if given, it only reads.
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("TOKEN"),
  ["Content-Type"] = "application/json",
  ["Accept"] = "application/json",
  ["User-Agent"] = "bench/1.0",
}
local path = "/api/v1/namespaces/" .. os.getenv("NAMESPACE") .. "/pods"
local most = tonumber(os.getenv("COUNT") or "1000000000")
local count = -1 -- wrk asks for one request that it never sends
local template = [[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-7d4b9c6f5-%06d","labels":{"app":"web",
"pod-template-hash":"7d4b9c6f5"}},"spec":{"containers":[{"name":"web","image":"registry.example/web:1.2.3","ports":
[{"containerPort":8080,"name":"http"}],"env":[{"name":"MODE","value":"production"}],"resources":{"requests":{"cpu":
"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},"readinessProbe":{"httpGet":{"path":"/ready","port":"http"}}}]}}]]

function request()
  count = count + 1
  if count > most then
    return wrk.format("GET", "/readyz", headers)
  end
  return wrk.format("POST", path, headers, string.format(template, count))
end
