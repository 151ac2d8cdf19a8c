-- Health of a PeerDiscovery for Argo CD: put it into ConfigMap argocd-cm, key
-- resource.customizations.health.peerdiscovery.dev_PeerDiscovery. Without it, Argo CD calls an object healthy for existing.
local health = { status = "Progressing", message = "The operator has not reported yet" }
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "The operator has not seen the newest spec yet"
  return health
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return { status = "Degraded", message = conditions.Stalled.message }
end
local ready = conditions.Ready
if ready == nil then
  return health
end
if ready.status == "Unknown" then
  return { status = "Progressing", message = ready.message }
end
if ready.status == "False" then
  return { status = "Degraded", message = ready.message }
end
return { status = "Healthy", message = ready.message }
